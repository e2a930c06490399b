package dev.perdure.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Hands tasks to workers.
 * A task is one attempt at one step. Its lease belongs to the task, not to the stream: a worker
 * whose stream breaks reconnects within the lease, names the tokens it holds in Hello and goes on.
 * Every report, begin and heartbeat names the task's token; a token that is not the step's newest
 * attempt, or was given out before the store was restored, is answered STALE (a heartbeat: LOST) and
 * changes nothing. The token is all that counts: a report is taken from
 * whoever brings it within the namespace. Durations only: a worker starts its own clock when the task
 * arrives and stops by itself when 80% of the lease has gone without renewal.
 * Calls are authenticated, and may fail besides, as RunService says of all calls.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class WorkerServiceGrpc {

  private WorkerServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "perdure.v1.WorkerService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.WorkRequest,
      dev.perdure.v1.WorkResponse> getWorkMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Work",
      requestType = dev.perdure.v1.WorkRequest.class,
      responseType = dev.perdure.v1.WorkResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.BIDI_STREAMING)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.WorkRequest,
      dev.perdure.v1.WorkResponse> getWorkMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.WorkRequest, dev.perdure.v1.WorkResponse> getWorkMethod;
    if ((getWorkMethod = WorkerServiceGrpc.getWorkMethod) == null) {
      synchronized (WorkerServiceGrpc.class) {
        if ((getWorkMethod = WorkerServiceGrpc.getWorkMethod) == null) {
          WorkerServiceGrpc.getWorkMethod = getWorkMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.WorkRequest, dev.perdure.v1.WorkResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.BIDI_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Work"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.WorkRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.WorkResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkerServiceMethodDescriptorSupplier("Work"))
              .build();
        }
      }
    }
    return getWorkMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.PollTasksRequest,
      dev.perdure.v1.PollTasksResponse> getPollTasksMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PollTasks",
      requestType = dev.perdure.v1.PollTasksRequest.class,
      responseType = dev.perdure.v1.PollTasksResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.PollTasksRequest,
      dev.perdure.v1.PollTasksResponse> getPollTasksMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.PollTasksRequest, dev.perdure.v1.PollTasksResponse> getPollTasksMethod;
    if ((getPollTasksMethod = WorkerServiceGrpc.getPollTasksMethod) == null) {
      synchronized (WorkerServiceGrpc.class) {
        if ((getPollTasksMethod = WorkerServiceGrpc.getPollTasksMethod) == null) {
          WorkerServiceGrpc.getPollTasksMethod = getPollTasksMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.PollTasksRequest, dev.perdure.v1.PollTasksResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PollTasks"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.PollTasksRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.PollTasksResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkerServiceMethodDescriptorSupplier("PollTasks"))
              .build();
        }
      }
    }
    return getPollTasksMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ReportTasksRequest,
      dev.perdure.v1.ReportTasksResponse> getReportTasksMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReportTasks",
      requestType = dev.perdure.v1.ReportTasksRequest.class,
      responseType = dev.perdure.v1.ReportTasksResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ReportTasksRequest,
      dev.perdure.v1.ReportTasksResponse> getReportTasksMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ReportTasksRequest, dev.perdure.v1.ReportTasksResponse> getReportTasksMethod;
    if ((getReportTasksMethod = WorkerServiceGrpc.getReportTasksMethod) == null) {
      synchronized (WorkerServiceGrpc.class) {
        if ((getReportTasksMethod = WorkerServiceGrpc.getReportTasksMethod) == null) {
          WorkerServiceGrpc.getReportTasksMethod = getReportTasksMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ReportTasksRequest, dev.perdure.v1.ReportTasksResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReportTasks"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ReportTasksRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ReportTasksResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkerServiceMethodDescriptorSupplier("ReportTasks"))
              .build();
        }
      }
    }
    return getReportTasksMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.HeartbeatTasksRequest,
      dev.perdure.v1.HeartbeatTasksResponse> getHeartbeatTasksMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "HeartbeatTasks",
      requestType = dev.perdure.v1.HeartbeatTasksRequest.class,
      responseType = dev.perdure.v1.HeartbeatTasksResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.HeartbeatTasksRequest,
      dev.perdure.v1.HeartbeatTasksResponse> getHeartbeatTasksMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.HeartbeatTasksRequest, dev.perdure.v1.HeartbeatTasksResponse> getHeartbeatTasksMethod;
    if ((getHeartbeatTasksMethod = WorkerServiceGrpc.getHeartbeatTasksMethod) == null) {
      synchronized (WorkerServiceGrpc.class) {
        if ((getHeartbeatTasksMethod = WorkerServiceGrpc.getHeartbeatTasksMethod) == null) {
          WorkerServiceGrpc.getHeartbeatTasksMethod = getHeartbeatTasksMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.HeartbeatTasksRequest, dev.perdure.v1.HeartbeatTasksResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "HeartbeatTasks"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.HeartbeatTasksRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.HeartbeatTasksResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WorkerServiceMethodDescriptorSupplier("HeartbeatTasks"))
              .build();
        }
      }
    }
    return getHeartbeatTasksMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static WorkerServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkerServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkerServiceStub>() {
        @java.lang.Override
        public WorkerServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkerServiceStub(channel, callOptions);
        }
      };
    return WorkerServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static WorkerServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkerServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkerServiceBlockingV2Stub>() {
        @java.lang.Override
        public WorkerServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkerServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return WorkerServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static WorkerServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkerServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkerServiceBlockingStub>() {
        @java.lang.Override
        public WorkerServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkerServiceBlockingStub(channel, callOptions);
        }
      };
    return WorkerServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static WorkerServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WorkerServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WorkerServiceFutureStub>() {
        @java.lang.Override
        public WorkerServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WorkerServiceFutureStub(channel, callOptions);
        }
      };
    return WorkerServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Hands tasks to workers.
   * A task is one attempt at one step. Its lease belongs to the task, not to the stream: a worker
   * whose stream breaks reconnects within the lease, names the tokens it holds in Hello and goes on.
   * Every report, begin and heartbeat names the task's token; a token that is not the step's newest
   * attempt, or was given out before the store was restored, is answered STALE (a heartbeat: LOST) and
   * changes nothing. The token is all that counts: a report is taken from
   * whoever brings it within the namespace. Durations only: a worker starts its own clock when the task
   * arrives and stops by itself when 80% of the lease has gone without renewal.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * The stream of one worker process. The first WorkRequest carries hello; the first WorkResponse
     * carries welcome. Each message may carry several parts: of a WorkRequest, credit and drain are taken
     * first, so that the credit which comes with a report serves the task which that report makes due; the
     * rest in field order.
     * Reports are resent until acked. Each side sends something at least every ping_interval; silence
     * of three intervals means that the stream is dead and the worker reconnects with a higher
     * stream_epoch. A worker ends with goodbye; a stream that ends without it is a dead worker.
     * Errors: INVALID_FIELD, WORKER_SUPERSEDED, NAMESPACE_NOT_FOUND, TOO_MANY_STREAMS, DRAINING.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.perdure.v1.WorkRequest> work(
        io.grpc.stub.StreamObserver<dev.perdure.v1.WorkResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getWorkMethod(), responseObserver);
    }

    /**
     * <pre>
     * The unary way: waits for tasks up to `wait`. A repeat with the same request_id within the lease
     * returns the same leases, at the replica that answered first; another one gives other tasks, and the
     * first ones lapse. Tasks of a call that was cancelled before its answer are released.
     * </pre>
     */
    default void pollTasks(dev.perdure.v1.PollTasksRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.PollTasksResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPollTasksMethod(), responseObserver);
    }

    /**
     * <pre>
     * Settles tasks; the answer has one ack per begin and report, in order. Errors are acks.
     * </pre>
     */
    default void reportTasks(dev.perdure.v1.ReportTasksRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ReportTasksResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReportTasksMethod(), responseObserver);
    }

    /**
     * <pre>
     * Renews leases; the answer has one update per token, in order.
     * </pre>
     */
    default void heartbeatTasks(dev.perdure.v1.HeartbeatTasksRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.HeartbeatTasksResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getHeartbeatTasksMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service WorkerService.
   * <pre>
   * Hands tasks to workers.
   * A task is one attempt at one step. Its lease belongs to the task, not to the stream: a worker
   * whose stream breaks reconnects within the lease, names the tokens it holds in Hello and goes on.
   * Every report, begin and heartbeat names the task's token; a token that is not the step's newest
   * attempt, or was given out before the store was restored, is answered STALE (a heartbeat: LOST) and
   * changes nothing. The token is all that counts: a report is taken from
   * whoever brings it within the namespace. Durations only: a worker starts its own clock when the task
   * arrives and stops by itself when 80% of the lease has gone without renewal.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static abstract class WorkerServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return WorkerServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service WorkerService.
   * <pre>
   * Hands tasks to workers.
   * A task is one attempt at one step. Its lease belongs to the task, not to the stream: a worker
   * whose stream breaks reconnects within the lease, names the tokens it holds in Hello and goes on.
   * Every report, begin and heartbeat names the task's token; a token that is not the step's newest
   * attempt, or was given out before the store was restored, is answered STALE (a heartbeat: LOST) and
   * changes nothing. The token is all that counts: a report is taken from
   * whoever brings it within the namespace. Durations only: a worker starts its own clock when the task
   * arrives and stops by itself when 80% of the lease has gone without renewal.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkerServiceStub
      extends io.grpc.stub.AbstractAsyncStub<WorkerServiceStub> {
    private WorkerServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkerServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkerServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * The stream of one worker process. The first WorkRequest carries hello; the first WorkResponse
     * carries welcome. Each message may carry several parts: of a WorkRequest, credit and drain are taken
     * first, so that the credit which comes with a report serves the task which that report makes due; the
     * rest in field order.
     * Reports are resent until acked. Each side sends something at least every ping_interval; silence
     * of three intervals means that the stream is dead and the worker reconnects with a higher
     * stream_epoch. A worker ends with goodbye; a stream that ends without it is a dead worker.
     * Errors: INVALID_FIELD, WORKER_SUPERSEDED, NAMESPACE_NOT_FOUND, TOO_MANY_STREAMS, DRAINING.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.perdure.v1.WorkRequest> work(
        io.grpc.stub.StreamObserver<dev.perdure.v1.WorkResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncBidiStreamingCall(
          getChannel().newCall(getWorkMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * The unary way: waits for tasks up to `wait`. A repeat with the same request_id within the lease
     * returns the same leases, at the replica that answered first; another one gives other tasks, and the
     * first ones lapse. Tasks of a call that was cancelled before its answer are released.
     * </pre>
     */
    public void pollTasks(dev.perdure.v1.PollTasksRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.PollTasksResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPollTasksMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Settles tasks; the answer has one ack per begin and report, in order. Errors are acks.
     * </pre>
     */
    public void reportTasks(dev.perdure.v1.ReportTasksRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ReportTasksResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReportTasksMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Renews leases; the answer has one update per token, in order.
     * </pre>
     */
    public void heartbeatTasks(dev.perdure.v1.HeartbeatTasksRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.HeartbeatTasksResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getHeartbeatTasksMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service WorkerService.
   * <pre>
   * Hands tasks to workers.
   * A task is one attempt at one step. Its lease belongs to the task, not to the stream: a worker
   * whose stream breaks reconnects within the lease, names the tokens it holds in Hello and goes on.
   * Every report, begin and heartbeat names the task's token; a token that is not the step's newest
   * attempt, or was given out before the store was restored, is answered STALE (a heartbeat: LOST) and
   * changes nothing. The token is all that counts: a report is taken from
   * whoever brings it within the namespace. Durations only: a worker starts its own clock when the task
   * arrives and stops by itself when 80% of the lease has gone without renewal.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkerServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<WorkerServiceBlockingV2Stub> {
    private WorkerServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkerServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkerServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * The stream of one worker process. The first WorkRequest carries hello; the first WorkResponse
     * carries welcome. Each message may carry several parts: of a WorkRequest, credit and drain are taken
     * first, so that the credit which comes with a report serves the task which that report makes due; the
     * rest in field order.
     * Reports are resent until acked. Each side sends something at least every ping_interval; silence
     * of three intervals means that the stream is dead and the worker reconnects with a higher
     * stream_epoch. A worker ends with goodbye; a stream that ends without it is a dead worker.
     * Errors: INVALID_FIELD, WORKER_SUPERSEDED, NAMESPACE_NOT_FOUND, TOO_MANY_STREAMS, DRAINING.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.perdure.v1.WorkRequest, dev.perdure.v1.WorkResponse>
        work() {
      return io.grpc.stub.ClientCalls.blockingBidiStreamingCall(
          getChannel(), getWorkMethod(), getCallOptions());
    }

    /**
     * <pre>
     * The unary way: waits for tasks up to `wait`. A repeat with the same request_id within the lease
     * returns the same leases, at the replica that answered first; another one gives other tasks, and the
     * first ones lapse. Tasks of a call that was cancelled before its answer are released.
     * </pre>
     */
    public dev.perdure.v1.PollTasksResponse pollTasks(dev.perdure.v1.PollTasksRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPollTasksMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Settles tasks; the answer has one ack per begin and report, in order. Errors are acks.
     * </pre>
     */
    public dev.perdure.v1.ReportTasksResponse reportTasks(dev.perdure.v1.ReportTasksRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReportTasksMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Renews leases; the answer has one update per token, in order.
     * </pre>
     */
    public dev.perdure.v1.HeartbeatTasksResponse heartbeatTasks(dev.perdure.v1.HeartbeatTasksRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getHeartbeatTasksMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service WorkerService.
   * <pre>
   * Hands tasks to workers.
   * A task is one attempt at one step. Its lease belongs to the task, not to the stream: a worker
   * whose stream breaks reconnects within the lease, names the tokens it holds in Hello and goes on.
   * Every report, begin and heartbeat names the task's token; a token that is not the step's newest
   * attempt, or was given out before the store was restored, is answered STALE (a heartbeat: LOST) and
   * changes nothing. The token is all that counts: a report is taken from
   * whoever brings it within the namespace. Durations only: a worker starts its own clock when the task
   * arrives and stops by itself when 80% of the lease has gone without renewal.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkerServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<WorkerServiceBlockingStub> {
    private WorkerServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkerServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkerServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * The unary way: waits for tasks up to `wait`. A repeat with the same request_id within the lease
     * returns the same leases, at the replica that answered first; another one gives other tasks, and the
     * first ones lapse. Tasks of a call that was cancelled before its answer are released.
     * </pre>
     */
    public dev.perdure.v1.PollTasksResponse pollTasks(dev.perdure.v1.PollTasksRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPollTasksMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Settles tasks; the answer has one ack per begin and report, in order. Errors are acks.
     * </pre>
     */
    public dev.perdure.v1.ReportTasksResponse reportTasks(dev.perdure.v1.ReportTasksRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReportTasksMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Renews leases; the answer has one update per token, in order.
     * </pre>
     */
    public dev.perdure.v1.HeartbeatTasksResponse heartbeatTasks(dev.perdure.v1.HeartbeatTasksRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getHeartbeatTasksMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service WorkerService.
   * <pre>
   * Hands tasks to workers.
   * A task is one attempt at one step. Its lease belongs to the task, not to the stream: a worker
   * whose stream breaks reconnects within the lease, names the tokens it holds in Hello and goes on.
   * Every report, begin and heartbeat names the task's token; a token that is not the step's newest
   * attempt, or was given out before the store was restored, is answered STALE (a heartbeat: LOST) and
   * changes nothing. The token is all that counts: a report is taken from
   * whoever brings it within the namespace. Durations only: a worker starts its own clock when the task
   * arrives and stops by itself when 80% of the lease has gone without renewal.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class WorkerServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<WorkerServiceFutureStub> {
    private WorkerServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WorkerServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WorkerServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * The unary way: waits for tasks up to `wait`. A repeat with the same request_id within the lease
     * returns the same leases, at the replica that answered first; another one gives other tasks, and the
     * first ones lapse. Tasks of a call that was cancelled before its answer are released.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.PollTasksResponse> pollTasks(
        dev.perdure.v1.PollTasksRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPollTasksMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Settles tasks; the answer has one ack per begin and report, in order. Errors are acks.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ReportTasksResponse> reportTasks(
        dev.perdure.v1.ReportTasksRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReportTasksMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Renews leases; the answer has one update per token, in order.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.HeartbeatTasksResponse> heartbeatTasks(
        dev.perdure.v1.HeartbeatTasksRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getHeartbeatTasksMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_POLL_TASKS = 0;
  private static final int METHODID_REPORT_TASKS = 1;
  private static final int METHODID_HEARTBEAT_TASKS = 2;
  private static final int METHODID_WORK = 3;

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
        case METHODID_POLL_TASKS:
          serviceImpl.pollTasks((dev.perdure.v1.PollTasksRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.PollTasksResponse>) responseObserver);
          break;
        case METHODID_REPORT_TASKS:
          serviceImpl.reportTasks((dev.perdure.v1.ReportTasksRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ReportTasksResponse>) responseObserver);
          break;
        case METHODID_HEARTBEAT_TASKS:
          serviceImpl.heartbeatTasks((dev.perdure.v1.HeartbeatTasksRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.HeartbeatTasksResponse>) responseObserver);
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
        case METHODID_WORK:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.work(
              (io.grpc.stub.StreamObserver<dev.perdure.v1.WorkResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getWorkMethod(),
          io.grpc.stub.ServerCalls.asyncBidiStreamingCall(
            new MethodHandlers<
              dev.perdure.v1.WorkRequest,
              dev.perdure.v1.WorkResponse>(
                service, METHODID_WORK)))
        .addMethod(
          getPollTasksMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.PollTasksRequest,
              dev.perdure.v1.PollTasksResponse>(
                service, METHODID_POLL_TASKS)))
        .addMethod(
          getReportTasksMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ReportTasksRequest,
              dev.perdure.v1.ReportTasksResponse>(
                service, METHODID_REPORT_TASKS)))
        .addMethod(
          getHeartbeatTasksMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.HeartbeatTasksRequest,
              dev.perdure.v1.HeartbeatTasksResponse>(
                service, METHODID_HEARTBEAT_TASKS)))
        .build();
  }

  private static abstract class WorkerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    WorkerServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.perdure.v1.WorkerServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("WorkerService");
    }
  }

  private static final class WorkerServiceFileDescriptorSupplier
      extends WorkerServiceBaseDescriptorSupplier {
    WorkerServiceFileDescriptorSupplier() {}
  }

  private static final class WorkerServiceMethodDescriptorSupplier
      extends WorkerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    WorkerServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (WorkerServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new WorkerServiceFileDescriptorSupplier())
              .addMethod(getWorkMethod())
              .addMethod(getPollTasksMethod())
              .addMethod(getReportTasksMethod())
              .addMethod(getHeartbeatTasksMethod())
              .build();
        }
      }
    }
    return result;
  }
}
