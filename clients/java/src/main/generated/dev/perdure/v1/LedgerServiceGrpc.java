package dev.perdure.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Reads the ledger. Reading never changes a run.
 * Calls are authenticated, and may fail besides, as RunService says of all calls.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class LedgerServiceGrpc {

  private LedgerServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "perdure.v1.LedgerService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ListRecordsRequest,
      dev.perdure.v1.ListRecordsResponse> getListRecordsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListRecords",
      requestType = dev.perdure.v1.ListRecordsRequest.class,
      responseType = dev.perdure.v1.ListRecordsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ListRecordsRequest,
      dev.perdure.v1.ListRecordsResponse> getListRecordsMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ListRecordsRequest, dev.perdure.v1.ListRecordsResponse> getListRecordsMethod;
    if ((getListRecordsMethod = LedgerServiceGrpc.getListRecordsMethod) == null) {
      synchronized (LedgerServiceGrpc.class) {
        if ((getListRecordsMethod = LedgerServiceGrpc.getListRecordsMethod) == null) {
          LedgerServiceGrpc.getListRecordsMethod = getListRecordsMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ListRecordsRequest, dev.perdure.v1.ListRecordsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListRecords"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListRecordsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListRecordsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LedgerServiceMethodDescriptorSupplier("ListRecords"))
              .build();
        }
      }
    }
    return getListRecordsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.SubscribeLedgerRequest,
      dev.perdure.v1.SubscribeLedgerResponse> getSubscribeLedgerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "SubscribeLedger",
      requestType = dev.perdure.v1.SubscribeLedgerRequest.class,
      responseType = dev.perdure.v1.SubscribeLedgerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.SubscribeLedgerRequest,
      dev.perdure.v1.SubscribeLedgerResponse> getSubscribeLedgerMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.SubscribeLedgerRequest, dev.perdure.v1.SubscribeLedgerResponse> getSubscribeLedgerMethod;
    if ((getSubscribeLedgerMethod = LedgerServiceGrpc.getSubscribeLedgerMethod) == null) {
      synchronized (LedgerServiceGrpc.class) {
        if ((getSubscribeLedgerMethod = LedgerServiceGrpc.getSubscribeLedgerMethod) == null) {
          LedgerServiceGrpc.getSubscribeLedgerMethod = getSubscribeLedgerMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.SubscribeLedgerRequest, dev.perdure.v1.SubscribeLedgerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "SubscribeLedger"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.SubscribeLedgerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.SubscribeLedgerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LedgerServiceMethodDescriptorSupplier("SubscribeLedger"))
              .build();
        }
      }
    }
    return getSubscribeLedgerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.VerifyRunRequest,
      dev.perdure.v1.VerifyRunResponse> getVerifyRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "VerifyRun",
      requestType = dev.perdure.v1.VerifyRunRequest.class,
      responseType = dev.perdure.v1.VerifyRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.VerifyRunRequest,
      dev.perdure.v1.VerifyRunResponse> getVerifyRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.VerifyRunRequest, dev.perdure.v1.VerifyRunResponse> getVerifyRunMethod;
    if ((getVerifyRunMethod = LedgerServiceGrpc.getVerifyRunMethod) == null) {
      synchronized (LedgerServiceGrpc.class) {
        if ((getVerifyRunMethod = LedgerServiceGrpc.getVerifyRunMethod) == null) {
          LedgerServiceGrpc.getVerifyRunMethod = getVerifyRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.VerifyRunRequest, dev.perdure.v1.VerifyRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "VerifyRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.VerifyRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.VerifyRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LedgerServiceMethodDescriptorSupplier("VerifyRun"))
              .build();
        }
      }
    }
    return getVerifyRunMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static LedgerServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LedgerServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LedgerServiceStub>() {
        @java.lang.Override
        public LedgerServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LedgerServiceStub(channel, callOptions);
        }
      };
    return LedgerServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static LedgerServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LedgerServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LedgerServiceBlockingV2Stub>() {
        @java.lang.Override
        public LedgerServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LedgerServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return LedgerServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static LedgerServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LedgerServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LedgerServiceBlockingStub>() {
        @java.lang.Override
        public LedgerServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LedgerServiceBlockingStub(channel, callOptions);
        }
      };
    return LedgerServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static LedgerServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LedgerServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LedgerServiceFutureStub>() {
        @java.lang.Override
        public LedgerServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LedgerServiceFutureStub(channel, callOptions);
        }
      };
    return LedgerServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Reads the ledger. Reading never changes a run.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * One page of records of a scope, in position order. An unknown run gives an empty page.
     * Errors: INVALID_FIELD, INVALID_PAGE_TOKEN, INVALID_CURSOR, CURSOR_FROM_OTHER_STORE.
     * </pre>
     */
    default void listRecords(dev.perdure.v1.ListRecordsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListRecordsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListRecordsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Follows a scope, from the start asked for, for as long as the client reads.
     * 1. The first message is `subscribed` (or the call fails). Only then is `now` fixed: open, await
     *    it, then act.
     * 2. Records come in position order, the same order for every observer, each exactly once per
     *    stream. Within a run, and without a filter, seq is 1, 2, 3 ... without gap.
     * 3. `cursor` of any message covers all matching records up to it. Store it with what the records
     *    caused; a new stream with after_cursor goes on without gap or repeat, on any replica.
     * 4. `checkpoint` comes whenever no other message was sent for checkpoint_interval. A client that
     *    hears nothing for three intervals reconnects.
     * 5. `caught_up` comes when what existed has been sent; `fell_behind` when the stream went back to
     *    reading the store. Nothing is lost by either.
     * 6. A stream ends well only after `goodbye`. Any other end: reconnect after the last cursor.
     * 7. A reader that does not read for 60 s gets the stream ended (SLOW_CONSUMER).
     * Errors: INVALID_FIELD, INVALID_CURSOR, RUN_NOT_FOUND (run scope), CURSOR_FROM_OTHER_STORE,
     * TOO_MANY_STREAMS.
     * </pre>
     */
    default void subscribeLedger(dev.perdure.v1.SubscribeLedgerRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.SubscribeLedgerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSubscribeLedgerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Recomputes the hash chain and every payload commitment of one run.
     * Errors: RUN_NOT_FOUND.
     * </pre>
     */
    default void verifyRun(dev.perdure.v1.VerifyRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.VerifyRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getVerifyRunMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service LedgerService.
   * <pre>
   * Reads the ledger. Reading never changes a run.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static abstract class LedgerServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return LedgerServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service LedgerService.
   * <pre>
   * Reads the ledger. Reading never changes a run.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class LedgerServiceStub
      extends io.grpc.stub.AbstractAsyncStub<LedgerServiceStub> {
    private LedgerServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LedgerServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LedgerServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * One page of records of a scope, in position order. An unknown run gives an empty page.
     * Errors: INVALID_FIELD, INVALID_PAGE_TOKEN, INVALID_CURSOR, CURSOR_FROM_OTHER_STORE.
     * </pre>
     */
    public void listRecords(dev.perdure.v1.ListRecordsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListRecordsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListRecordsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Follows a scope, from the start asked for, for as long as the client reads.
     * 1. The first message is `subscribed` (or the call fails). Only then is `now` fixed: open, await
     *    it, then act.
     * 2. Records come in position order, the same order for every observer, each exactly once per
     *    stream. Within a run, and without a filter, seq is 1, 2, 3 ... without gap.
     * 3. `cursor` of any message covers all matching records up to it. Store it with what the records
     *    caused; a new stream with after_cursor goes on without gap or repeat, on any replica.
     * 4. `checkpoint` comes whenever no other message was sent for checkpoint_interval. A client that
     *    hears nothing for three intervals reconnects.
     * 5. `caught_up` comes when what existed has been sent; `fell_behind` when the stream went back to
     *    reading the store. Nothing is lost by either.
     * 6. A stream ends well only after `goodbye`. Any other end: reconnect after the last cursor.
     * 7. A reader that does not read for 60 s gets the stream ended (SLOW_CONSUMER).
     * Errors: INVALID_FIELD, INVALID_CURSOR, RUN_NOT_FOUND (run scope), CURSOR_FROM_OTHER_STORE,
     * TOO_MANY_STREAMS.
     * </pre>
     */
    public void subscribeLedger(dev.perdure.v1.SubscribeLedgerRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.SubscribeLedgerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getSubscribeLedgerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Recomputes the hash chain and every payload commitment of one run.
     * Errors: RUN_NOT_FOUND.
     * </pre>
     */
    public void verifyRun(dev.perdure.v1.VerifyRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.VerifyRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getVerifyRunMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service LedgerService.
   * <pre>
   * Reads the ledger. Reading never changes a run.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class LedgerServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<LedgerServiceBlockingV2Stub> {
    private LedgerServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LedgerServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LedgerServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * One page of records of a scope, in position order. An unknown run gives an empty page.
     * Errors: INVALID_FIELD, INVALID_PAGE_TOKEN, INVALID_CURSOR, CURSOR_FROM_OTHER_STORE.
     * </pre>
     */
    public dev.perdure.v1.ListRecordsResponse listRecords(dev.perdure.v1.ListRecordsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListRecordsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Follows a scope, from the start asked for, for as long as the client reads.
     * 1. The first message is `subscribed` (or the call fails). Only then is `now` fixed: open, await
     *    it, then act.
     * 2. Records come in position order, the same order for every observer, each exactly once per
     *    stream. Within a run, and without a filter, seq is 1, 2, 3 ... without gap.
     * 3. `cursor` of any message covers all matching records up to it. Store it with what the records
     *    caused; a new stream with after_cursor goes on without gap or repeat, on any replica.
     * 4. `checkpoint` comes whenever no other message was sent for checkpoint_interval. A client that
     *    hears nothing for three intervals reconnects.
     * 5. `caught_up` comes when what existed has been sent; `fell_behind` when the stream went back to
     *    reading the store. Nothing is lost by either.
     * 6. A stream ends well only after `goodbye`. Any other end: reconnect after the last cursor.
     * 7. A reader that does not read for 60 s gets the stream ended (SLOW_CONSUMER).
     * Errors: INVALID_FIELD, INVALID_CURSOR, RUN_NOT_FOUND (run scope), CURSOR_FROM_OTHER_STORE,
     * TOO_MANY_STREAMS.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.perdure.v1.SubscribeLedgerResponse>
        subscribeLedger(dev.perdure.v1.SubscribeLedgerRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getSubscribeLedgerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Recomputes the hash chain and every payload commitment of one run.
     * Errors: RUN_NOT_FOUND.
     * </pre>
     */
    public dev.perdure.v1.VerifyRunResponse verifyRun(dev.perdure.v1.VerifyRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getVerifyRunMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service LedgerService.
   * <pre>
   * Reads the ledger. Reading never changes a run.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class LedgerServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<LedgerServiceBlockingStub> {
    private LedgerServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LedgerServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LedgerServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * One page of records of a scope, in position order. An unknown run gives an empty page.
     * Errors: INVALID_FIELD, INVALID_PAGE_TOKEN, INVALID_CURSOR, CURSOR_FROM_OTHER_STORE.
     * </pre>
     */
    public dev.perdure.v1.ListRecordsResponse listRecords(dev.perdure.v1.ListRecordsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListRecordsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Follows a scope, from the start asked for, for as long as the client reads.
     * 1. The first message is `subscribed` (or the call fails). Only then is `now` fixed: open, await
     *    it, then act.
     * 2. Records come in position order, the same order for every observer, each exactly once per
     *    stream. Within a run, and without a filter, seq is 1, 2, 3 ... without gap.
     * 3. `cursor` of any message covers all matching records up to it. Store it with what the records
     *    caused; a new stream with after_cursor goes on without gap or repeat, on any replica.
     * 4. `checkpoint` comes whenever no other message was sent for checkpoint_interval. A client that
     *    hears nothing for three intervals reconnects.
     * 5. `caught_up` comes when what existed has been sent; `fell_behind` when the stream went back to
     *    reading the store. Nothing is lost by either.
     * 6. A stream ends well only after `goodbye`. Any other end: reconnect after the last cursor.
     * 7. A reader that does not read for 60 s gets the stream ended (SLOW_CONSUMER).
     * Errors: INVALID_FIELD, INVALID_CURSOR, RUN_NOT_FOUND (run scope), CURSOR_FROM_OTHER_STORE,
     * TOO_MANY_STREAMS.
     * </pre>
     */
    public java.util.Iterator<dev.perdure.v1.SubscribeLedgerResponse> subscribeLedger(
        dev.perdure.v1.SubscribeLedgerRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getSubscribeLedgerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Recomputes the hash chain and every payload commitment of one run.
     * Errors: RUN_NOT_FOUND.
     * </pre>
     */
    public dev.perdure.v1.VerifyRunResponse verifyRun(dev.perdure.v1.VerifyRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getVerifyRunMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service LedgerService.
   * <pre>
   * Reads the ledger. Reading never changes a run.
   * Calls are authenticated, and may fail besides, as RunService says of all calls.
   * </pre>
   */
  public static final class LedgerServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<LedgerServiceFutureStub> {
    private LedgerServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LedgerServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LedgerServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * One page of records of a scope, in position order. An unknown run gives an empty page.
     * Errors: INVALID_FIELD, INVALID_PAGE_TOKEN, INVALID_CURSOR, CURSOR_FROM_OTHER_STORE.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ListRecordsResponse> listRecords(
        dev.perdure.v1.ListRecordsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListRecordsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Recomputes the hash chain and every payload commitment of one run.
     * Errors: RUN_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.VerifyRunResponse> verifyRun(
        dev.perdure.v1.VerifyRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getVerifyRunMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_RECORDS = 0;
  private static final int METHODID_SUBSCRIBE_LEDGER = 1;
  private static final int METHODID_VERIFY_RUN = 2;

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
        case METHODID_LIST_RECORDS:
          serviceImpl.listRecords((dev.perdure.v1.ListRecordsRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ListRecordsResponse>) responseObserver);
          break;
        case METHODID_SUBSCRIBE_LEDGER:
          serviceImpl.subscribeLedger((dev.perdure.v1.SubscribeLedgerRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.SubscribeLedgerResponse>) responseObserver);
          break;
        case METHODID_VERIFY_RUN:
          serviceImpl.verifyRun((dev.perdure.v1.VerifyRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.VerifyRunResponse>) responseObserver);
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
          getListRecordsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ListRecordsRequest,
              dev.perdure.v1.ListRecordsResponse>(
                service, METHODID_LIST_RECORDS)))
        .addMethod(
          getSubscribeLedgerMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.perdure.v1.SubscribeLedgerRequest,
              dev.perdure.v1.SubscribeLedgerResponse>(
                service, METHODID_SUBSCRIBE_LEDGER)))
        .addMethod(
          getVerifyRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.VerifyRunRequest,
              dev.perdure.v1.VerifyRunResponse>(
                service, METHODID_VERIFY_RUN)))
        .build();
  }

  private static abstract class LedgerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    LedgerServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.perdure.v1.LedgerServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("LedgerService");
    }
  }

  private static final class LedgerServiceFileDescriptorSupplier
      extends LedgerServiceBaseDescriptorSupplier {
    LedgerServiceFileDescriptorSupplier() {}
  }

  private static final class LedgerServiceMethodDescriptorSupplier
      extends LedgerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    LedgerServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (LedgerServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new LedgerServiceFileDescriptorSupplier())
              .addMethod(getListRecordsMethod())
              .addMethod(getSubscribeLedgerMethod())
              .addMethod(getVerifyRunMethod())
              .build();
        }
      }
    }
    return result;
  }
}
