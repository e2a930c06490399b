"""Generated code: the messages and services of the contract. Do not edit."""
