# Versions of the tools that neither pip, npm nor go.mod pins. Raising one rebuilds that tool.
PROTOC_JAVA_VERSION := 4.33.1
GRPC_JAVA_VERSION := 1.76.0
MAVEN_DEPENDENCY_PLUGIN_VERSION := 3.8.1
PROTOC_GEN_PROST_VERSION := 0.5.0
PROTOC_GEN_TONIC_VERSION := 0.5.0
