package dev.perdure.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Keeps workflow versions.
 * Calls are authenticated, and may fail besides, as RunService says of all calls.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class WorkflowServiceGrpc {

  private WorkflowServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "perdure.v1.WorkflowService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.RegisterWorkflowRequest,
      dev.perdure.v1.RegisterWorkflowResponse> getRegisterWorkflowMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RegisterWorkflow",
      requestType = dev.perdure.v1.RegisterWorkflowRequest.class,
      responseType = dev.perdure.v1.RegisterWorkflowResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.RegisterWorkflowRequest,
      dev.perdure.v1.RegisterWorkflowResponse> getRegisterWorkflowMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.RegisterWorkflowRequest, dev.perdure.v1.RegisterWorkflowResponse> getRegisterWorkflowMethod;
    if ((getRegisterWorkflowMethod = WorkflowServiceGrpc.getRegisterWorkflowMethod) == null) {
      synchronized (WorkflowServiceGrpc.class) {
        if ((getRegisterWorkflowMethod = WorkflowServiceGrpc.getRegisterWorkflowMethod) == null) {
          WorkflowServiceGrpc.getRegisterWorkflowMethod = getRegisterWorkflowMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.RegisterWorkflowRequest, dev.perdure.v1.RegisterWorkflowResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RegisterWorkflow"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.RegisterWorkflowRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.RegisterWorkflowResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowServiceMethodDescriptorSupplier("RegisterWorkflow"))
              .build();
        }
      }
    }
    return getRegisterWorkflowMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.GetWorkflowRequest,
      dev.perdure.v1.GetWorkflowResponse> getGetWorkflowMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetWorkflow",
      requestType = dev.perdure.v1.GetWorkflowRequest.class,
      responseType = dev.perdure.v1.GetWorkflowResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.GetWorkflowRequest,
      dev.perdure.v1.GetWorkflowResponse> getGetWorkflowMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.GetWorkflowRequest, dev.perdure.v1.GetWorkflowResponse> getGetWorkflowMethod;
    if ((getGetWorkflowMethod = WorkflowServiceGrpc.getGetWorkflowMethod) == null) {
      synchronized (WorkflowServiceGrpc.class) {
        if ((getGetWorkflowMethod = WorkflowServiceGrpc.getGetWorkflowMethod) == null) {
          WorkflowServiceGrpc.getGetWorkflowMethod = getGetWorkflowMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.GetWorkflowRequest, dev.perdure.v1.GetWorkflowResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetWorkflow"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.GetWorkflowRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.GetWorkflowResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowServiceMethodDescriptorSupplier("GetWorkflow"))
              .build();
        }
      }
    }
    return getGetWorkflowMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ListWorkflowsRequest,
      dev.perdure.v1.ListWorkflowsResponse> getListWorkflowsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListWorkflows",
      requestType = dev.perdure.v1.ListWorkflowsRequest.class,
      responseType = dev.perdure.v1.ListWorkflowsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ListWorkflowsRequest,
      dev.perdure.v1.ListWorkflowsResponse> getListWorkflowsMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ListWorkflowsRequest, dev.perdure.v1.ListWorkflowsResponse> getListWorkflowsMethod;
    if ((getListWorkflowsMethod = WorkflowServiceGrpc.getListWorkflowsMethod) == null) {
      synchronized (WorkflowServiceGrpc.class) {
        if ((getListWorkflowsMethod = WorkflowServiceGrpc.getListWorkflowsMethod) == null) {
          WorkflowServiceGrpc.getListWorkflowsMethod = getListWorkflowsMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ListWorkflowsRequest, dev.perdure.v1.ListWorkflowsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListWorkflows"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListWorkflowsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListWorkflowsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowServiceMethodDescriptorSupplier("ListWorkflows"))
              .build();
        }
      }
    }
    return getListWorkflowsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ValidateWorkflowRequest,
      dev.perdure.v1.ValidateWorkflowResponse> getValidateWorkflowMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ValidateWorkflow",
      requestType = dev.perdure.v1.ValidateWorkflowRequest.class,
      responseType = dev.perdure.v1.ValidateWorkflowResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ValidateWorkflowRequest,
      dev.perdure.v1.ValidateWorkflowResponse> getValidateWorkflowMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ValidateWorkflowRequest, dev.perdure.v1.ValidateWorkflowResponse> getValidateWorkflowMethod;
    if ((getValidateWorkflowMethod = WorkflowServiceGrpc.getValidateWorkflowMethod) == null) {
      synchronized (WorkflowServiceGrpc.class) {
        if ((getValidateWorkflowMethod = WorkflowServiceGrpc.getValidateWorkflowMethod) == null) {
          WorkflowServiceGrpc.getValidateWorkflowMethod = getValidateWorkflowMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ValidateWorkflowRequest, dev.perdure.v1.ValidateWorkflowResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ValidateWorkflow"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ValidateWorkflowRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ValidateWorkflowResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowServiceMethodDescriptorSupplier("ValidateWorkflow"))
              .build();
        }
      }
    }
    return getValidateWorkflowMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.SetDefaultVersionRequest,
      dev.perdure.v1.SetDefaultVersionResponse> getSetDefaultVersionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "SetDefaultVersion",
      requestType = dev.perdure.v1.SetDefaultVersionRequest.class,
      responseType = dev.perdure.v1.SetDefaultVersionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.SetDefaultVersionRequest,
      dev.perdure.v1.SetDefaultVersionResponse> getSetDefaultVersionMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.SetDefaultVersionRequest, dev.perdure.v1.SetDefaultVersionResponse> getSetDefaultVersionMethod;
    if ((getSetDefaultVersionMethod = WorkflowServiceGrpc.getSetDefaultVersionMethod) == null) {
      synchronized (WorkflowServiceGrpc.class) {
        if ((getSetDefaultVersionMethod = WorkflowServiceGrpc.getSetDefaultVersionMethod) == null) {
          WorkflowServiceGrpc.getSetDefaultVersionMethod = getSetDefaultVersionMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.SetDefaultVersionRequest, dev.perdure.v1.SetDefaultVersionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "SetDefaultVersion"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.SetDefaultVersionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.SetDefaultVersionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkflowServiceMethodDescriptorSupplier("SetDefaultVersion"))
              .build();
        }
      }
    }
    return getSetDefaultVersionMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static WorkflowServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceStub>() {
        @java.lang.Override
        public WorkflowServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowServiceStub(channel, callOptions);
        }
      };
    return WorkflowServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static WorkflowServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceBlockingV2Stub>() {
        @java.lang.Override
        public WorkflowServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return WorkflowServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static WorkflowServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceBlockingStub>() {
        @java.lang.Override
        public WorkflowServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowServiceBlockingStub(channel, callOptions);
        }
      };
    return WorkflowServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static WorkflowServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkflowServiceFutureStub>() {
        @java.lang.Override
        public WorkflowServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkflowServiceFutureStub(channel, callOptions);
        }
      };
    return WorkflowServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Keeps workflow versions.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Stores a version of a workflow. The version is the digest of its content, so registering it
     * again changes nothing. The first version becomes the default, a later one if set_default asks for it;
     * afterwards only SetDefaultVersion moves the default.
     * Errors: INVALID_FIELD, INVALID_SPEC, NAMESPACE_NOT_FOUND, REQUEST_ID_REUSED.
     * </pre>
     */
    default void registerWorkflow(dev.perdure.v1.RegisterWorkflowRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.RegisterWorkflowResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRegisterWorkflowMethod(), responseObserver);
    }

    /**
     * <pre>
     * One version. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    default void getWorkflow(dev.perdure.v1.GetWorkflowRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.GetWorkflowResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetWorkflowMethod(), responseObserver);
    }

    /**
     * <pre>
     * Versions, newest first.
     * </pre>
     */
    default void listWorkflows(dev.perdure.v1.ListWorkflowsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListWorkflowsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListWorkflowsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Checks a spec and computes its version, storing nothing. Problems are the answer, not an error.
     * </pre>
     */
    default void validateWorkflow(dev.perdure.v1.ValidateWorkflowRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ValidateWorkflowResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getValidateWorkflowMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes a version the one that StartRun takes when it names none: at all replicas from the reply on.
     * Children that name no version follow within a second at other replicas. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    default void setDefaultVersion(dev.perdure.v1.SetDefaultVersionRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.SetDefaultVersionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSetDefaultVersionMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service WorkflowService.
   * <pre>
   * Keeps workflow versions.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static abstract class WorkflowServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return WorkflowServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service WorkflowService.
   * <pre>
   * Keeps workflow versions.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkflowServiceStub
      extends io.grpc.stub.AbstractAsyncStub<WorkflowServiceStub> {
    private WorkflowServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores a version of a workflow. The version is the digest of its content, so registering it
     * again changes nothing. The first version becomes the default, a later one if set_default asks for it;
     * afterwards only SetDefaultVersion moves the default.
     * Errors: INVALID_FIELD, INVALID_SPEC, NAMESPACE_NOT_FOUND, REQUEST_ID_REUSED.
     * </pre>
     */
    public void registerWorkflow(dev.perdure.v1.RegisterWorkflowRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.RegisterWorkflowResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRegisterWorkflowMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * One version. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public void getWorkflow(dev.perdure.v1.GetWorkflowRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.GetWorkflowResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetWorkflowMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Versions, newest first.
     * </pre>
     */
    public void listWorkflows(dev.perdure.v1.ListWorkflowsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListWorkflowsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListWorkflowsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Checks a spec and computes its version, storing nothing. Problems are the answer, not an error.
     * </pre>
     */
    public void validateWorkflow(dev.perdure.v1.ValidateWorkflowRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ValidateWorkflowResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getValidateWorkflowMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes a version the one that StartRun takes when it names none: at all replicas from the reply on.
     * Children that name no version follow within a second at other replicas. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public void setDefaultVersion(dev.perdure.v1.SetDefaultVersionRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.SetDefaultVersionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getSetDefaultVersionMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service WorkflowService.
   * <pre>
   * Keeps workflow versions.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkflowServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<WorkflowServiceBlockingV2Stub> {
    private WorkflowServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores a version of a workflow. The version is the digest of its content, so registering it
     * again changes nothing. The first version becomes the default, a later one if set_default asks for it;
     * afterwards only SetDefaultVersion moves the default.
     * Errors: INVALID_FIELD, INVALID_SPEC, NAMESPACE_NOT_FOUND, REQUEST_ID_REUSED.
     * </pre>
     */
    public dev.perdure.v1.RegisterWorkflowResponse registerWorkflow(dev.perdure.v1.RegisterWorkflowRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRegisterWorkflowMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * One version. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public dev.perdure.v1.GetWorkflowResponse getWorkflow(dev.perdure.v1.GetWorkflowRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetWorkflowMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Versions, newest first.
     * </pre>
     */
    public dev.perdure.v1.ListWorkflowsResponse listWorkflows(dev.perdure.v1.ListWorkflowsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListWorkflowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Checks a spec and computes its version, storing nothing. Problems are the answer, not an error.
     * </pre>
     */
    public dev.perdure.v1.ValidateWorkflowResponse validateWorkflow(dev.perdure.v1.ValidateWorkflowRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getValidateWorkflowMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a version the one that StartRun takes when it names none: at all replicas from the reply on.
     * Children that name no version follow within a second at other replicas. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public dev.perdure.v1.SetDefaultVersionResponse setDefaultVersion(dev.perdure.v1.SetDefaultVersionRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getSetDefaultVersionMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service WorkflowService.
   * <pre>
   * Keeps workflow versions.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkflowServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<WorkflowServiceBlockingStub> {
    private WorkflowServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores a version of a workflow. The version is the digest of its content, so registering it
     * again changes nothing. The first version becomes the default, a later one if set_default asks for it;
     * afterwards only SetDefaultVersion moves the default.
     * Errors: INVALID_FIELD, INVALID_SPEC, NAMESPACE_NOT_FOUND, REQUEST_ID_REUSED.
     * </pre>
     */
    public dev.perdure.v1.RegisterWorkflowResponse registerWorkflow(dev.perdure.v1.RegisterWorkflowRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRegisterWorkflowMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * One version. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public dev.perdure.v1.GetWorkflowResponse getWorkflow(dev.perdure.v1.GetWorkflowRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetWorkflowMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Versions, newest first.
     * </pre>
     */
    public dev.perdure.v1.ListWorkflowsResponse listWorkflows(dev.perdure.v1.ListWorkflowsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListWorkflowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Checks a spec and computes its version, storing nothing. Problems are the answer, not an error.
     * </pre>
     */
    public dev.perdure.v1.ValidateWorkflowResponse validateWorkflow(dev.perdure.v1.ValidateWorkflowRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getValidateWorkflowMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a version the one that StartRun takes when it names none: at all replicas from the reply on.
     * Children that name no version follow within a second at other replicas. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public dev.perdure.v1.SetDefaultVersionResponse setDefaultVersion(dev.perdure.v1.SetDefaultVersionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getSetDefaultVersionMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service WorkflowService.
   * <pre>
   * Keeps workflow versions.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkflowServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<WorkflowServiceFutureStub> {
    private WorkflowServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkflowServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkflowServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores a version of a workflow. The version is the digest of its content, so registering it
     * again changes nothing. The first version becomes the default, a later one if set_default asks for it;
     * afterwards only SetDefaultVersion moves the default.
     * Errors: INVALID_FIELD, INVALID_SPEC, NAMESPACE_NOT_FOUND, REQUEST_ID_REUSED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.RegisterWorkflowResponse> registerWorkflow(
        dev.perdure.v1.RegisterWorkflowRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRegisterWorkflowMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * One version. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.GetWorkflowResponse> getWorkflow(
        dev.perdure.v1.GetWorkflowRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetWorkflowMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Versions, newest first.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ListWorkflowsResponse> listWorkflows(
        dev.perdure.v1.ListWorkflowsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListWorkflowsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Checks a spec and computes its version, storing nothing. Problems are the answer, not an error.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ValidateWorkflowResponse> validateWorkflow(
        dev.perdure.v1.ValidateWorkflowRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getValidateWorkflowMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Makes a version the one that StartRun takes when it names none: at all replicas from the reply on.
     * Children that name no version follow within a second at other replicas. Errors: WORKFLOW_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.SetDefaultVersionResponse> setDefaultVersion(
        dev.perdure.v1.SetDefaultVersionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getSetDefaultVersionMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_REGISTER_WORKFLOW = 0;
  private static final int METHODID_GET_WORKFLOW = 1;
  private static final int METHODID_LIST_WORKFLOWS = 2;
  private static final int METHODID_VALIDATE_WORKFLOW = 3;
  private static final int METHODID_SET_DEFAULT_VERSION = 4;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_REGISTER_WORKFLOW:
          serviceImpl.registerWorkflow((dev.perdure.v1.RegisterWorkflowRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.RegisterWorkflowResponse>) responseObserver);
          break;
        case METHODID_GET_WORKFLOW:
          serviceImpl.getWorkflow((dev.perdure.v1.GetWorkflowRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.GetWorkflowResponse>) responseObserver);
          break;
        case METHODID_LIST_WORKFLOWS:
          serviceImpl.listWorkflows((dev.perdure.v1.ListWorkflowsRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ListWorkflowsResponse>) responseObserver);
          break;
        case METHODID_VALIDATE_WORKFLOW:
          serviceImpl.validateWorkflow((dev.perdure.v1.ValidateWorkflowRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ValidateWorkflowResponse>) responseObserver);
          break;
        case METHODID_SET_DEFAULT_VERSION:
          serviceImpl.setDefaultVersion((dev.perdure.v1.SetDefaultVersionRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.SetDefaultVersionResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getRegisterWorkflowMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.RegisterWorkflowRequest,
              dev.perdure.v1.RegisterWorkflowResponse>(
                service, METHODID_REGISTER_WORKFLOW)))
        .addMethod(
          getGetWorkflowMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.GetWorkflowRequest,
              dev.perdure.v1.GetWorkflowResponse>(
                service, METHODID_GET_WORKFLOW)))
        .addMethod(
          getListWorkflowsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ListWorkflowsRequest,
              dev.perdure.v1.ListWorkflowsResponse>(
                service, METHODID_LIST_WORKFLOWS)))
        .addMethod(
          getValidateWorkflowMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ValidateWorkflowRequest,
              dev.perdure.v1.ValidateWorkflowResponse>(
                service, METHODID_VALIDATE_WORKFLOW)))
        .addMethod(
          getSetDefaultVersionMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.SetDefaultVersionRequest,
              dev.perdure.v1.SetDefaultVersionResponse>(
                service, METHODID_SET_DEFAULT_VERSION)))
        .build();
  }

  private static abstract class WorkflowServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    WorkflowServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.perdure.v1.WorkflowServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("WorkflowService");
    }
  }

  private static final class WorkflowServiceFileDescriptorSupplier
      extends WorkflowServiceBaseDescriptorSupplier {
    WorkflowServiceFileDescriptorSupplier() {}
  }

  private static final class WorkflowServiceMethodDescriptorSupplier
      extends WorkflowServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    WorkflowServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (WorkflowServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new WorkflowServiceFileDescriptorSupplier())
              .addMethod(getRegisterWorkflowMethod())
              .addMethod(getGetWorkflowMethod())
              .addMethod(getListWorkflowsMethod())
              .addMethod(getValidateWorkflowMethod())
              .addMethod(getSetDefaultVersionMethod())
              .build();
        }
      }
    }
    return result;
  }
}
