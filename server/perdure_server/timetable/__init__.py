"""When schedules fire, and what becomes of each instant. Pure: time is a parameter."""
