package dev.perdure.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Starts runs, moves them, reads them.
 * Every reply to a changing call is sent after its commit is on disk. `request_id` makes a repeat
 * safe: the same id with the same body returns the first reply for 24 h, with another body fails
 * with REQUEST_ID_REUSED; ids are unique per namespace and method, only successes are kept. All
 * calls may fail with INVALID_FIELD, NAMESPACE_NOT_FOUND, UNAUTHENTICATED, NAMESPACE_DENIED,
 * TOO_MANY_CALLS, DRAINING, STORE_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL; changing calls also with
 * CONFLICT and REQUEST_ID_REUSED; calls that name a run with RUN_NOT_FOUND.
 * A server that was given a token file wants the metadata entry `authorization: Bearer TOKEN` with
 * every call and stream: UNAUTHENTICATED without a token that it knows, NAMESPACE_DENIED where the
 * token is not bound to the request's namespace. One that was given a client CA wants a certificate.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class RunServiceGrpc {

  private RunServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "perdure.v1.RunService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.StartRunRequest,
      dev.perdure.v1.StartRunResponse> getStartRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StartRun",
      requestType = dev.perdure.v1.StartRunRequest.class,
      responseType = dev.perdure.v1.StartRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.StartRunRequest,
      dev.perdure.v1.StartRunResponse> getStartRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.StartRunRequest, dev.perdure.v1.StartRunResponse> getStartRunMethod;
    if ((getStartRunMethod = RunServiceGrpc.getStartRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getStartRunMethod = RunServiceGrpc.getStartRunMethod) == null) {
          RunServiceGrpc.getStartRunMethod = getStartRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.StartRunRequest, dev.perdure.v1.StartRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StartRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.StartRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.StartRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("StartRun"))
              .build();
        }
      }
    }
    return getStartRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.TickRunRequest,
      dev.perdure.v1.TickRunResponse> getTickRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "TickRun",
      requestType = dev.perdure.v1.TickRunRequest.class,
      responseType = dev.perdure.v1.TickRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.TickRunRequest,
      dev.perdure.v1.TickRunResponse> getTickRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.TickRunRequest, dev.perdure.v1.TickRunResponse> getTickRunMethod;
    if ((getTickRunMethod = RunServiceGrpc.getTickRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getTickRunMethod = RunServiceGrpc.getTickRunMethod) == null) {
          RunServiceGrpc.getTickRunMethod = getTickRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.TickRunRequest, dev.perdure.v1.TickRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "TickRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.TickRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.TickRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("TickRun"))
              .build();
        }
      }
    }
    return getTickRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ResumeRunRequest,
      dev.perdure.v1.ResumeRunResponse> getResumeRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ResumeRun",
      requestType = dev.perdure.v1.ResumeRunRequest.class,
      responseType = dev.perdure.v1.ResumeRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ResumeRunRequest,
      dev.perdure.v1.ResumeRunResponse> getResumeRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ResumeRunRequest, dev.perdure.v1.ResumeRunResponse> getResumeRunMethod;
    if ((getResumeRunMethod = RunServiceGrpc.getResumeRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getResumeRunMethod = RunServiceGrpc.getResumeRunMethod) == null) {
          RunServiceGrpc.getResumeRunMethod = getResumeRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ResumeRunRequest, dev.perdure.v1.ResumeRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ResumeRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ResumeRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ResumeRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("ResumeRun"))
              .build();
        }
      }
    }
    return getResumeRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.GetRunRequest,
      dev.perdure.v1.GetRunResponse> getGetRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetRun",
      requestType = dev.perdure.v1.GetRunRequest.class,
      responseType = dev.perdure.v1.GetRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.GetRunRequest,
      dev.perdure.v1.GetRunResponse> getGetRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.GetRunRequest, dev.perdure.v1.GetRunResponse> getGetRunMethod;
    if ((getGetRunMethod = RunServiceGrpc.getGetRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getGetRunMethod = RunServiceGrpc.getGetRunMethod) == null) {
          RunServiceGrpc.getGetRunMethod = getGetRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.GetRunRequest, dev.perdure.v1.GetRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.GetRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.GetRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("GetRun"))
              .build();
        }
      }
    }
    return getGetRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ListRunsRequest,
      dev.perdure.v1.ListRunsResponse> getListRunsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListRuns",
      requestType = dev.perdure.v1.ListRunsRequest.class,
      responseType = dev.perdure.v1.ListRunsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ListRunsRequest,
      dev.perdure.v1.ListRunsResponse> getListRunsMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ListRunsRequest, dev.perdure.v1.ListRunsResponse> getListRunsMethod;
    if ((getListRunsMethod = RunServiceGrpc.getListRunsMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getListRunsMethod = RunServiceGrpc.getListRunsMethod) == null) {
          RunServiceGrpc.getListRunsMethod = getListRunsMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ListRunsRequest, dev.perdure.v1.ListRunsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListRuns"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListRunsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListRunsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("ListRuns"))
              .build();
        }
      }
    }
    return getListRunsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.CountRunsRequest,
      dev.perdure.v1.CountRunsResponse> getCountRunsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CountRuns",
      requestType = dev.perdure.v1.CountRunsRequest.class,
      responseType = dev.perdure.v1.CountRunsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.CountRunsRequest,
      dev.perdure.v1.CountRunsResponse> getCountRunsMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.CountRunsRequest, dev.perdure.v1.CountRunsResponse> getCountRunsMethod;
    if ((getCountRunsMethod = RunServiceGrpc.getCountRunsMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getCountRunsMethod = RunServiceGrpc.getCountRunsMethod) == null) {
          RunServiceGrpc.getCountRunsMethod = getCountRunsMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.CountRunsRequest, dev.perdure.v1.CountRunsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CountRuns"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.CountRunsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.CountRunsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("CountRuns"))
              .build();
        }
      }
    }
    return getCountRunsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ListWaitsRequest,
      dev.perdure.v1.ListWaitsResponse> getListWaitsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListWaits",
      requestType = dev.perdure.v1.ListWaitsRequest.class,
      responseType = dev.perdure.v1.ListWaitsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ListWaitsRequest,
      dev.perdure.v1.ListWaitsResponse> getListWaitsMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ListWaitsRequest, dev.perdure.v1.ListWaitsResponse> getListWaitsMethod;
    if ((getListWaitsMethod = RunServiceGrpc.getListWaitsMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getListWaitsMethod = RunServiceGrpc.getListWaitsMethod) == null) {
          RunServiceGrpc.getListWaitsMethod = getListWaitsMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ListWaitsRequest, dev.perdure.v1.ListWaitsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListWaits"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListWaitsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListWaitsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("ListWaits"))
              .build();
        }
      }
    }
    return getListWaitsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.WaitRunRequest,
      dev.perdure.v1.WaitRunResponse> getWaitRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WaitRun",
      requestType = dev.perdure.v1.WaitRunRequest.class,
      responseType = dev.perdure.v1.WaitRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.WaitRunRequest,
      dev.perdure.v1.WaitRunResponse> getWaitRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.WaitRunRequest, dev.perdure.v1.WaitRunResponse> getWaitRunMethod;
    if ((getWaitRunMethod = RunServiceGrpc.getWaitRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getWaitRunMethod = RunServiceGrpc.getWaitRunMethod) == null) {
          RunServiceGrpc.getWaitRunMethod = getWaitRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.WaitRunRequest, dev.perdure.v1.WaitRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WaitRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.WaitRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.WaitRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("WaitRun"))
              .build();
        }
      }
    }
    return getWaitRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.WatchRunRequest,
      dev.perdure.v1.WatchRunResponse> getWatchRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchRun",
      requestType = dev.perdure.v1.WatchRunRequest.class,
      responseType = dev.perdure.v1.WatchRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.WatchRunRequest,
      dev.perdure.v1.WatchRunResponse> getWatchRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.WatchRunRequest, dev.perdure.v1.WatchRunResponse> getWatchRunMethod;
    if ((getWatchRunMethod = RunServiceGrpc.getWatchRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getWatchRunMethod = RunServiceGrpc.getWatchRunMethod) == null) {
          RunServiceGrpc.getWatchRunMethod = getWatchRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.WatchRunRequest, dev.perdure.v1.WatchRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.WatchRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.WatchRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("WatchRun"))
              .build();
        }
      }
    }
    return getWatchRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.CancelRunRequest,
      dev.perdure.v1.CancelRunResponse> getCancelRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CancelRun",
      requestType = dev.perdure.v1.CancelRunRequest.class,
      responseType = dev.perdure.v1.CancelRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.CancelRunRequest,
      dev.perdure.v1.CancelRunResponse> getCancelRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.CancelRunRequest, dev.perdure.v1.CancelRunResponse> getCancelRunMethod;
    if ((getCancelRunMethod = RunServiceGrpc.getCancelRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getCancelRunMethod = RunServiceGrpc.getCancelRunMethod) == null) {
          RunServiceGrpc.getCancelRunMethod = getCancelRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.CancelRunRequest, dev.perdure.v1.CancelRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CancelRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.CancelRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.CancelRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("CancelRun"))
              .build();
        }
      }
    }
    return getCancelRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.PauseRunRequest,
      dev.perdure.v1.PauseRunResponse> getPauseRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PauseRun",
      requestType = dev.perdure.v1.PauseRunRequest.class,
      responseType = dev.perdure.v1.PauseRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.PauseRunRequest,
      dev.perdure.v1.PauseRunResponse> getPauseRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.PauseRunRequest, dev.perdure.v1.PauseRunResponse> getPauseRunMethod;
    if ((getPauseRunMethod = RunServiceGrpc.getPauseRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getPauseRunMethod = RunServiceGrpc.getPauseRunMethod) == null) {
          RunServiceGrpc.getPauseRunMethod = getPauseRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.PauseRunRequest, dev.perdure.v1.PauseRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PauseRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.PauseRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.PauseRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("PauseRun"))
              .build();
        }
      }
    }
    return getPauseRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.UnpauseRunRequest,
      dev.perdure.v1.UnpauseRunResponse> getUnpauseRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UnpauseRun",
      requestType = dev.perdure.v1.UnpauseRunRequest.class,
      responseType = dev.perdure.v1.UnpauseRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.UnpauseRunRequest,
      dev.perdure.v1.UnpauseRunResponse> getUnpauseRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.UnpauseRunRequest, dev.perdure.v1.UnpauseRunResponse> getUnpauseRunMethod;
    if ((getUnpauseRunMethod = RunServiceGrpc.getUnpauseRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getUnpauseRunMethod = RunServiceGrpc.getUnpauseRunMethod) == null) {
          RunServiceGrpc.getUnpauseRunMethod = getUnpauseRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.UnpauseRunRequest, dev.perdure.v1.UnpauseRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UnpauseRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.UnpauseRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.UnpauseRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("UnpauseRun"))
              .build();
        }
      }
    }
    return getUnpauseRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ResolveStepRequest,
      dev.perdure.v1.ResolveStepResponse> getResolveStepMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ResolveStep",
      requestType = dev.perdure.v1.ResolveStepRequest.class,
      responseType = dev.perdure.v1.ResolveStepResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ResolveStepRequest,
      dev.perdure.v1.ResolveStepResponse> getResolveStepMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ResolveStepRequest, dev.perdure.v1.ResolveStepResponse> getResolveStepMethod;
    if ((getResolveStepMethod = RunServiceGrpc.getResolveStepMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getResolveStepMethod = RunServiceGrpc.getResolveStepMethod) == null) {
          RunServiceGrpc.getResolveStepMethod = getResolveStepMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ResolveStepRequest, dev.perdure.v1.ResolveStepResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ResolveStep"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ResolveStepRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ResolveStepResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("ResolveStep"))
              .build();
        }
      }
    }
    return getResolveStepMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.RetryRunRequest,
      dev.perdure.v1.RetryRunResponse> getRetryRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RetryRun",
      requestType = dev.perdure.v1.RetryRunRequest.class,
      responseType = dev.perdure.v1.RetryRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.RetryRunRequest,
      dev.perdure.v1.RetryRunResponse> getRetryRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.RetryRunRequest, dev.perdure.v1.RetryRunResponse> getRetryRunMethod;
    if ((getRetryRunMethod = RunServiceGrpc.getRetryRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getRetryRunMethod = RunServiceGrpc.getRetryRunMethod) == null) {
          RunServiceGrpc.getRetryRunMethod = getRetryRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.RetryRunRequest, dev.perdure.v1.RetryRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RetryRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.RetryRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.RetryRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("RetryRun"))
              .build();
        }
      }
    }
    return getRetryRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.RetryRunsRequest,
      dev.perdure.v1.RetryRunsResponse> getRetryRunsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RetryRuns",
      requestType = dev.perdure.v1.RetryRunsRequest.class,
      responseType = dev.perdure.v1.RetryRunsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.RetryRunsRequest,
      dev.perdure.v1.RetryRunsResponse> getRetryRunsMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.RetryRunsRequest, dev.perdure.v1.RetryRunsResponse> getRetryRunsMethod;
    if ((getRetryRunsMethod = RunServiceGrpc.getRetryRunsMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getRetryRunsMethod = RunServiceGrpc.getRetryRunsMethod) == null) {
          RunServiceGrpc.getRetryRunsMethod = getRetryRunsMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.RetryRunsRequest, dev.perdure.v1.RetryRunsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RetryRuns"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.RetryRunsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.RetryRunsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("RetryRuns"))
              .build();
        }
      }
    }
    return getRetryRunsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.MigrateRunRequest,
      dev.perdure.v1.MigrateRunResponse> getMigrateRunMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "MigrateRun",
      requestType = dev.perdure.v1.MigrateRunRequest.class,
      responseType = dev.perdure.v1.MigrateRunResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.MigrateRunRequest,
      dev.perdure.v1.MigrateRunResponse> getMigrateRunMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.MigrateRunRequest, dev.perdure.v1.MigrateRunResponse> getMigrateRunMethod;
    if ((getMigrateRunMethod = RunServiceGrpc.getMigrateRunMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getMigrateRunMethod = RunServiceGrpc.getMigrateRunMethod) == null) {
          RunServiceGrpc.getMigrateRunMethod = getMigrateRunMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.MigrateRunRequest, dev.perdure.v1.MigrateRunResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "MigrateRun"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.MigrateRunRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.MigrateRunResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("MigrateRun"))
              .build();
        }
      }
    }
    return getMigrateRunMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.EmitEventRequest,
      dev.perdure.v1.EmitEventResponse> getEmitEventMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "EmitEvent",
      requestType = dev.perdure.v1.EmitEventRequest.class,
      responseType = dev.perdure.v1.EmitEventResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.EmitEventRequest,
      dev.perdure.v1.EmitEventResponse> getEmitEventMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.EmitEventRequest, dev.perdure.v1.EmitEventResponse> getEmitEventMethod;
    if ((getEmitEventMethod = RunServiceGrpc.getEmitEventMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getEmitEventMethod = RunServiceGrpc.getEmitEventMethod) == null) {
          RunServiceGrpc.getEmitEventMethod = getEmitEventMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.EmitEventRequest, dev.perdure.v1.EmitEventResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "EmitEvent"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.EmitEventRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.EmitEventResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("EmitEvent"))
              .build();
        }
      }
    }
    return getEmitEventMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.perdure.v1.ListEventsRequest,
      dev.perdure.v1.ListEventsResponse> getListEventsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListEvents",
      requestType = dev.perdure.v1.ListEventsRequest.class,
      responseType = dev.perdure.v1.ListEventsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.perdure.v1.ListEventsRequest,
      dev.perdure.v1.ListEventsResponse> getListEventsMethod() {
    io.grpc.MethodDescriptor<dev.perdure.v1.ListEventsRequest, dev.perdure.v1.ListEventsResponse> getListEventsMethod;
    if ((getListEventsMethod = RunServiceGrpc.getListEventsMethod) == null) {
      synchronized (RunServiceGrpc.class) {
        if ((getListEventsMethod = RunServiceGrpc.getListEventsMethod) == null) {
          RunServiceGrpc.getListEventsMethod = getListEventsMethod =
              io.grpc.MethodDescriptor.<dev.perdure.v1.ListEventsRequest, dev.perdure.v1.ListEventsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListEvents"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListEventsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.perdure.v1.ListEventsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new RunServiceMethodDescriptorSupplier("ListEvents"))
              .build();
        }
      }
    }
    return getListEventsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static RunServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RunServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RunServiceStub>() {
        @java.lang.Override
        public RunServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RunServiceStub(channel, callOptions);
        }
      };
    return RunServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static RunServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RunServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RunServiceBlockingV2Stub>() {
        @java.lang.Override
        public RunServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RunServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return RunServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static RunServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RunServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RunServiceBlockingStub>() {
        @java.lang.Override
        public RunServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RunServiceBlockingStub(channel, callOptions);
        }
      };
    return RunServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static RunServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<RunServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<RunServiceFutureStub>() {
        @java.lang.Override
        public RunServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new RunServiceFutureStub(channel, callOptions);
        }
      };
    return RunServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Starts runs, moves them, reads them.
   * Every reply to a changing call is sent after its commit is on disk. `request_id` makes a repeat
   * safe: the same id with the same body returns the first reply for 24 h, with another body fails
   * with REQUEST_ID_REUSED; ids are unique per namespace and method, only successes are kept. All
   * calls may fail with INVALID_FIELD, NAMESPACE_NOT_FOUND, UNAUTHENTICATED, NAMESPACE_DENIED,
   * TOO_MANY_CALLS, DRAINING, STORE_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL; changing calls also with
   * CONFLICT and REQUEST_ID_REUSED; calls that name a run with RUN_NOT_FOUND.
   * A server that was given a token file wants the metadata entry `authorization: Bearer TOKEN` with
   * every call and stream: UNAUTHENTICATED without a token that it knows, NAMESPACE_DENIED where the
   * token is not bound to the request's namespace. One that was given a client CA wants a certificate.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Creates a run and, unless it is manual, starts to move it. With an event: starts the run if
     * there is none of that id, and gives the event to whichever run then has it (see
     * StartRunRequest.event).
     * Errors: WORKFLOW_NOT_FOUND, NODE_NOT_FOUND, RUN_EXISTS, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * CONCURRENCY_LIMIT, LIMIT_REACHED.
     * </pre>
     */
    default void startRun(dev.perdure.v1.StartRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.StartRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStartRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Gives a manual run node entries, then waits until they are used, the run settles or the call's
     * deadline. Errors: RUN_NOT_MANUAL, RUN_ENDED.
     * </pre>
     */
    default void tickRun(dev.perdure.v1.TickRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.TickRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getTickRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Ends the wait that is named, with an answer. The run continues at the wait's resume_to_node; the
     * waiting node is not run again. Allowed while the run is paused. Any wait_id but that of the
     * present wait gets WAIT_ENDED; beside a wait_id, any_wait changes nothing.
     * Errors: RUN_NOT_WAITING, WAIT_ENDED, WAIT_NOT_RESUMABLE, WAIT_KEY_MISMATCH, WAIT_ID_REQUIRED,
     * ANSWER_NOT_ALLOWED, INVALID_JSON, PAYLOAD_TOO_LARGE, RUN_ENDED.
     * </pre>
     */
    default void resumeRun(dev.perdure.v1.ResumeRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ResumeRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResumeRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * One run, as this process knows it. Where several replicas share a store, it may be older than what
     * another one has acknowledged: that is known here within 250 ms while something goes on (1 s else;
     * mostly a hint makes it milliseconds), later only while a long transaction of another one is open, and
     * never forgotten again. WaitRun with min_seq reads what a reply of another one spoke of.
     * </pre>
     */
    default void getRun(dev.perdure.v1.GetRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.GetRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Runs by (created_at, run_id) descending, without vars, output and error details.
     * Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    default void listRuns(dev.perdure.v1.ListRunsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListRunsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListRunsMethod(), responseObserver);
    }

    /**
     * <pre>
     * How many runs match: exact to 10,000, then at least that.
     * </pre>
     */
    default void countRuns(dev.perdure.v1.CountRunsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.CountRunsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCountRunsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Waits of runs: the inbox. Oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    default void listWaits(dev.perdure.v1.ListWaitsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListWaitsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListWaitsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Waits until the run is settled (ended, waiting, parked, idle, or paused with no attempt leased)
     * or ended, at most 50 s or the call's deadline; then returns it as it stands. It begins with what GetRun
     * would show: at another replica than the one that acknowledged it, a run that was opened again may
     * still be ended, a wait that was answered still open. min_seq rules that out.
     * </pre>
     */
    default void waitRun(dev.perdure.v1.WaitRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.WaitRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWaitRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * The run as GetRun would show it, then again after changes; changes close together may be sent as one. A
     * heartbeat comes every 15 s without other messages; goodbye is last. Errors: TOO_MANY_STREAMS.
     * </pre>
     */
    default void watchRun(dev.perdure.v1.WatchRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.WatchRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Cancels a run: at once, or through its workflow's on_cancel_node. A second cancel ends that path
     * at once. Children are cancelled too, as they were started. Cancelling a run that has ended
     * changes nothing and succeeds.
     * </pre>
     */
    default void cancelRun(dev.perdure.v1.CancelRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.CancelRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCancelRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Nothing new starts until UnpauseRun; what is under way may end and is recorded. Pausing a paused
     * run changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    default void pauseRun(dev.perdure.v1.PauseRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.PauseRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPauseRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Undoes PauseRun; on a run that is not paused it changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    default void unpauseRun(dev.perdure.v1.UnpauseRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.UnpauseRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUnpauseRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Decides about a parked step. Errors: STEP_NOT_PARKED, RUN_ENDED, INVALID_JSON.
     * </pre>
     */
    default void resolveStep(dev.perdure.v1.ResolveStepRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ResolveStepResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResolveStepMethod(), responseObserver);
    }

    /**
     * <pre>
     * Opens a failed run again at the step it failed at: same visit, same idempotency key, failures and
     * lapses counted from 0, attempt numbers that go on. An effect is executed again, not its node, unless
     * from_node asks for a new plan. What else the failed run held is gone: its children go on without it,
     * and its parent, if it has heard of the failure, is not told of the next end. An irreversible effect
     * that had begun may have been executed: the run is then parked IN_DOUBT, and ResolveStep decides.
     * A step of a manual run is due at once; the next node costs an entry again.
     * Errors: RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * VARS_TOO_LARGE.
     * </pre>
     */
    default void retryRun(dev.perdure.v1.RetryRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.RetryRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRetryRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * RetryRun for one page of the failed runs that match a filter, newest first. Each run is a commit of
     * its own, and its outcome is told; one that is refused does not stop the others. Call again with
     * next_page_token until there is none; the pace is the caller's, between pages. A repeat with the same
     * request_id returns the first reply; where that was never given, it goes on, and a run that this
     * request had opened is not opened twice. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    default void retryRuns(dev.perdure.v1.RetryRunsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.RetryRunsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRetryRunsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Moves a run that has not ended to another registered version of its workflow. Every node that the
     * run is bound for (where it stands, and where its open effect or its wait leads) must be in the
     * target, under its own name or the one in node_map; otherwise nothing changes and all faults are
     * named. Works in every activity, paused or not. A wait stays registered under its id. An open effect
     * keeps its key, and the worker that has it may report it; a node that a worker has is handed out
     * again as the next attempt, and a report of the former one is stale. Later plans are checked against
     * the target. Children keep their version. Migrating to the version that the run has changes nothing.
     * Errors: MIGRATION_REFUSED, WORKFLOW_NOT_FOUND, RUN_ENDED.
     * </pre>
     */
    default void migrateRun(dev.perdure.v1.MigrateRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.MigrateRunResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getMigrateRunMethod(), responseObserver);
    }

    /**
     * <pre>
     * Appends an event to the event log. Runs that wait for it go on after it; runs that come to wait
     * for it later (within event retention) also get it, each once.
     * Errors: INVALID_JSON, PAYLOAD_TOO_LARGE.
     * </pre>
     */
    default void emitEvent(dev.perdure.v1.EmitEventRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.EmitEventResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getEmitEventMethod(), responseObserver);
    }

    /**
     * <pre>
     * Events of one scope, oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    default void listEvents(dev.perdure.v1.ListEventsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListEventsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListEventsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service RunService.
   * <pre>
   * Starts runs, moves them, reads them.
   * Every reply to a changing call is sent after its commit is on disk. `request_id` makes a repeat
   * safe: the same id with the same body returns the first reply for 24 h, with another body fails
   * with REQUEST_ID_REUSED; ids are unique per namespace and method, only successes are kept. All
   * calls may fail with INVALID_FIELD, NAMESPACE_NOT_FOUND, UNAUTHENTICATED, NAMESPACE_DENIED,
   * TOO_MANY_CALLS, DRAINING, STORE_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL; changing calls also with
   * CONFLICT and REQUEST_ID_REUSED; calls that name a run with RUN_NOT_FOUND.
   * A server that was given a token file wants the metadata entry `authorization: Bearer TOKEN` with
   * every call and stream: UNAUTHENTICATED without a token that it knows, NAMESPACE_DENIED where the
   * token is not bound to the request's namespace. One that was given a client CA wants a certificate.
   * </pre>
   */
  public static abstract class RunServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return RunServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service RunService.
   * <pre>
   * Starts runs, moves them, reads them.
   * Every reply to a changing call is sent after its commit is on disk. `request_id` makes a repeat
   * safe: the same id with the same body returns the first reply for 24 h, with another body fails
   * with REQUEST_ID_REUSED; ids are unique per namespace and method, only successes are kept. All
   * calls may fail with INVALID_FIELD, NAMESPACE_NOT_FOUND, UNAUTHENTICATED, NAMESPACE_DENIED,
   * TOO_MANY_CALLS, DRAINING, STORE_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL; changing calls also with
   * CONFLICT and REQUEST_ID_REUSED; calls that name a run with RUN_NOT_FOUND.
   * A server that was given a token file wants the metadata entry `authorization: Bearer TOKEN` with
   * every call and stream: UNAUTHENTICATED without a token that it knows, NAMESPACE_DENIED where the
   * token is not bound to the request's namespace. One that was given a client CA wants a certificate.
   * </pre>
   */
  public static final class RunServiceStub
      extends io.grpc.stub.AbstractAsyncStub<RunServiceStub> {
    private RunServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RunServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RunServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a run and, unless it is manual, starts to move it. With an event: starts the run if
     * there is none of that id, and gives the event to whichever run then has it (see
     * StartRunRequest.event).
     * Errors: WORKFLOW_NOT_FOUND, NODE_NOT_FOUND, RUN_EXISTS, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * CONCURRENCY_LIMIT, LIMIT_REACHED.
     * </pre>
     */
    public void startRun(dev.perdure.v1.StartRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.StartRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getStartRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Gives a manual run node entries, then waits until they are used, the run settles or the call's
     * deadline. Errors: RUN_NOT_MANUAL, RUN_ENDED.
     * </pre>
     */
    public void tickRun(dev.perdure.v1.TickRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.TickRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getTickRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Ends the wait that is named, with an answer. The run continues at the wait's resume_to_node; the
     * waiting node is not run again. Allowed while the run is paused. Any wait_id but that of the
     * present wait gets WAIT_ENDED; beside a wait_id, any_wait changes nothing.
     * Errors: RUN_NOT_WAITING, WAIT_ENDED, WAIT_NOT_RESUMABLE, WAIT_KEY_MISMATCH, WAIT_ID_REQUIRED,
     * ANSWER_NOT_ALLOWED, INVALID_JSON, PAYLOAD_TOO_LARGE, RUN_ENDED.
     * </pre>
     */
    public void resumeRun(dev.perdure.v1.ResumeRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ResumeRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResumeRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * One run, as this process knows it. Where several replicas share a store, it may be older than what
     * another one has acknowledged: that is known here within 250 ms while something goes on (1 s else;
     * mostly a hint makes it milliseconds), later only while a long transaction of another one is open, and
     * never forgotten again. WaitRun with min_seq reads what a reply of another one spoke of.
     * </pre>
     */
    public void getRun(dev.perdure.v1.GetRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.GetRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Runs by (created_at, run_id) descending, without vars, output and error details.
     * Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public void listRuns(dev.perdure.v1.ListRunsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListRunsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListRunsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * How many runs match: exact to 10,000, then at least that.
     * </pre>
     */
    public void countRuns(dev.perdure.v1.CountRunsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.CountRunsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCountRunsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Waits of runs: the inbox. Oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public void listWaits(dev.perdure.v1.ListWaitsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListWaitsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListWaitsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Waits until the run is settled (ended, waiting, parked, idle, or paused with no attempt leased)
     * or ended, at most 50 s or the call's deadline; then returns it as it stands. It begins with what GetRun
     * would show: at another replica than the one that acknowledged it, a run that was opened again may
     * still be ended, a wait that was answered still open. min_seq rules that out.
     * </pre>
     */
    public void waitRun(dev.perdure.v1.WaitRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.WaitRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getWaitRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * The run as GetRun would show it, then again after changes; changes close together may be sent as one. A
     * heartbeat comes every 15 s without other messages; goodbye is last. Errors: TOO_MANY_STREAMS.
     * </pre>
     */
    public void watchRun(dev.perdure.v1.WatchRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.WatchRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Cancels a run: at once, or through its workflow's on_cancel_node. A second cancel ends that path
     * at once. Children are cancelled too, as they were started. Cancelling a run that has ended
     * changes nothing and succeeds.
     * </pre>
     */
    public void cancelRun(dev.perdure.v1.CancelRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.CancelRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCancelRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Nothing new starts until UnpauseRun; what is under way may end and is recorded. Pausing a paused
     * run changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public void pauseRun(dev.perdure.v1.PauseRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.PauseRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPauseRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Undoes PauseRun; on a run that is not paused it changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public void unpauseRun(dev.perdure.v1.UnpauseRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.UnpauseRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUnpauseRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Decides about a parked step. Errors: STEP_NOT_PARKED, RUN_ENDED, INVALID_JSON.
     * </pre>
     */
    public void resolveStep(dev.perdure.v1.ResolveStepRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ResolveStepResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResolveStepMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Opens a failed run again at the step it failed at: same visit, same idempotency key, failures and
     * lapses counted from 0, attempt numbers that go on. An effect is executed again, not its node, unless
     * from_node asks for a new plan. What else the failed run held is gone: its children go on without it,
     * and its parent, if it has heard of the failure, is not told of the next end. An irreversible effect
     * that had begun may have been executed: the run is then parked IN_DOUBT, and ResolveStep decides.
     * A step of a manual run is due at once; the next node costs an entry again.
     * Errors: RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * VARS_TOO_LARGE.
     * </pre>
     */
    public void retryRun(dev.perdure.v1.RetryRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.RetryRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRetryRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * RetryRun for one page of the failed runs that match a filter, newest first. Each run is a commit of
     * its own, and its outcome is told; one that is refused does not stop the others. Call again with
     * next_page_token until there is none; the pace is the caller's, between pages. A repeat with the same
     * request_id returns the first reply; where that was never given, it goes on, and a run that this
     * request had opened is not opened twice. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public void retryRuns(dev.perdure.v1.RetryRunsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.RetryRunsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRetryRunsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Moves a run that has not ended to another registered version of its workflow. Every node that the
     * run is bound for (where it stands, and where its open effect or its wait leads) must be in the
     * target, under its own name or the one in node_map; otherwise nothing changes and all faults are
     * named. Works in every activity, paused or not. A wait stays registered under its id. An open effect
     * keeps its key, and the worker that has it may report it; a node that a worker has is handed out
     * again as the next attempt, and a report of the former one is stale. Later plans are checked against
     * the target. Children keep their version. Migrating to the version that the run has changes nothing.
     * Errors: MIGRATION_REFUSED, WORKFLOW_NOT_FOUND, RUN_ENDED.
     * </pre>
     */
    public void migrateRun(dev.perdure.v1.MigrateRunRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.MigrateRunResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getMigrateRunMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Appends an event to the event log. Runs that wait for it go on after it; runs that come to wait
     * for it later (within event retention) also get it, each once.
     * Errors: INVALID_JSON, PAYLOAD_TOO_LARGE.
     * </pre>
     */
    public void emitEvent(dev.perdure.v1.EmitEventRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.EmitEventResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getEmitEventMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Events of one scope, oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public void listEvents(dev.perdure.v1.ListEventsRequest request,
        io.grpc.stub.StreamObserver<dev.perdure.v1.ListEventsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListEventsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service RunService.
   * <pre>
   * Starts runs, moves them, reads them.
   * Every reply to a changing call is sent after its commit is on disk. `request_id` makes a repeat
   * safe: the same id with the same body returns the first reply for 24 h, with another body fails
   * with REQUEST_ID_REUSED; ids are unique per namespace and method, only successes are kept. All
   * calls may fail with INVALID_FIELD, NAMESPACE_NOT_FOUND, UNAUTHENTICATED, NAMESPACE_DENIED,
   * TOO_MANY_CALLS, DRAINING, STORE_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL; changing calls also with
   * CONFLICT and REQUEST_ID_REUSED; calls that name a run with RUN_NOT_FOUND.
   * A server that was given a token file wants the metadata entry `authorization: Bearer TOKEN` with
   * every call and stream: UNAUTHENTICATED without a token that it knows, NAMESPACE_DENIED where the
   * token is not bound to the request's namespace. One that was given a client CA wants a certificate.
   * </pre>
   */
  public static final class RunServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<RunServiceBlockingV2Stub> {
    private RunServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RunServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RunServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a run and, unless it is manual, starts to move it. With an event: starts the run if
     * there is none of that id, and gives the event to whichever run then has it (see
     * StartRunRequest.event).
     * Errors: WORKFLOW_NOT_FOUND, NODE_NOT_FOUND, RUN_EXISTS, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * CONCURRENCY_LIMIT, LIMIT_REACHED.
     * </pre>
     */
    public dev.perdure.v1.StartRunResponse startRun(dev.perdure.v1.StartRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getStartRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives a manual run node entries, then waits until they are used, the run settles or the call's
     * deadline. Errors: RUN_NOT_MANUAL, RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.TickRunResponse tickRun(dev.perdure.v1.TickRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getTickRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends the wait that is named, with an answer. The run continues at the wait's resume_to_node; the
     * waiting node is not run again. Allowed while the run is paused. Any wait_id but that of the
     * present wait gets WAIT_ENDED; beside a wait_id, any_wait changes nothing.
     * Errors: RUN_NOT_WAITING, WAIT_ENDED, WAIT_NOT_RESUMABLE, WAIT_KEY_MISMATCH, WAIT_ID_REQUIRED,
     * ANSWER_NOT_ALLOWED, INVALID_JSON, PAYLOAD_TOO_LARGE, RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.ResumeRunResponse resumeRun(dev.perdure.v1.ResumeRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResumeRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * One run, as this process knows it. Where several replicas share a store, it may be older than what
     * another one has acknowledged: that is known here within 250 ms while something goes on (1 s else;
     * mostly a hint makes it milliseconds), later only while a long transaction of another one is open, and
     * never forgotten again. WaitRun with min_seq reads what a reply of another one spoke of.
     * </pre>
     */
    public dev.perdure.v1.GetRunResponse getRun(dev.perdure.v1.GetRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Runs by (created_at, run_id) descending, without vars, output and error details.
     * Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.ListRunsResponse listRuns(dev.perdure.v1.ListRunsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListRunsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * How many runs match: exact to 10,000, then at least that.
     * </pre>
     */
    public dev.perdure.v1.CountRunsResponse countRuns(dev.perdure.v1.CountRunsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCountRunsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Waits of runs: the inbox. Oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.ListWaitsResponse listWaits(dev.perdure.v1.ListWaitsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListWaitsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Waits until the run is settled (ended, waiting, parked, idle, or paused with no attempt leased)
     * or ended, at most 50 s or the call's deadline; then returns it as it stands. It begins with what GetRun
     * would show: at another replica than the one that acknowledged it, a run that was opened again may
     * still be ended, a wait that was answered still open. min_seq rules that out.
     * </pre>
     */
    public dev.perdure.v1.WaitRunResponse waitRun(dev.perdure.v1.WaitRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getWaitRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * The run as GetRun would show it, then again after changes; changes close together may be sent as one. A
     * heartbeat comes every 15 s without other messages; goodbye is last. Errors: TOO_MANY_STREAMS.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.perdure.v1.WatchRunResponse>
        watchRun(dev.perdure.v1.WatchRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Cancels a run: at once, or through its workflow's on_cancel_node. A second cancel ends that path
     * at once. Children are cancelled too, as they were started. Cancelling a run that has ended
     * changes nothing and succeeds.
     * </pre>
     */
    public dev.perdure.v1.CancelRunResponse cancelRun(dev.perdure.v1.CancelRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCancelRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Nothing new starts until UnpauseRun; what is under way may end and is recorded. Pausing a paused
     * run changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.PauseRunResponse pauseRun(dev.perdure.v1.PauseRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPauseRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Undoes PauseRun; on a run that is not paused it changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.UnpauseRunResponse unpauseRun(dev.perdure.v1.UnpauseRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUnpauseRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Decides about a parked step. Errors: STEP_NOT_PARKED, RUN_ENDED, INVALID_JSON.
     * </pre>
     */
    public dev.perdure.v1.ResolveStepResponse resolveStep(dev.perdure.v1.ResolveStepRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResolveStepMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Opens a failed run again at the step it failed at: same visit, same idempotency key, failures and
     * lapses counted from 0, attempt numbers that go on. An effect is executed again, not its node, unless
     * from_node asks for a new plan. What else the failed run held is gone: its children go on without it,
     * and its parent, if it has heard of the failure, is not told of the next end. An irreversible effect
     * that had begun may have been executed: the run is then parked IN_DOUBT, and ResolveStep decides.
     * A step of a manual run is due at once; the next node costs an entry again.
     * Errors: RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * VARS_TOO_LARGE.
     * </pre>
     */
    public dev.perdure.v1.RetryRunResponse retryRun(dev.perdure.v1.RetryRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRetryRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * RetryRun for one page of the failed runs that match a filter, newest first. Each run is a commit of
     * its own, and its outcome is told; one that is refused does not stop the others. Call again with
     * next_page_token until there is none; the pace is the caller's, between pages. A repeat with the same
     * request_id returns the first reply; where that was never given, it goes on, and a run that this
     * request had opened is not opened twice. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.RetryRunsResponse retryRuns(dev.perdure.v1.RetryRunsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRetryRunsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Moves a run that has not ended to another registered version of its workflow. Every node that the
     * run is bound for (where it stands, and where its open effect or its wait leads) must be in the
     * target, under its own name or the one in node_map; otherwise nothing changes and all faults are
     * named. Works in every activity, paused or not. A wait stays registered under its id. An open effect
     * keeps its key, and the worker that has it may report it; a node that a worker has is handed out
     * again as the next attempt, and a report of the former one is stale. Later plans are checked against
     * the target. Children keep their version. Migrating to the version that the run has changes nothing.
     * Errors: MIGRATION_REFUSED, WORKFLOW_NOT_FOUND, RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.MigrateRunResponse migrateRun(dev.perdure.v1.MigrateRunRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getMigrateRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Appends an event to the event log. Runs that wait for it go on after it; runs that come to wait
     * for it later (within event retention) also get it, each once.
     * Errors: INVALID_JSON, PAYLOAD_TOO_LARGE.
     * </pre>
     */
    public dev.perdure.v1.EmitEventResponse emitEvent(dev.perdure.v1.EmitEventRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getEmitEventMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Events of one scope, oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.ListEventsResponse listEvents(dev.perdure.v1.ListEventsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListEventsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service RunService.
   * <pre>
   * Starts runs, moves them, reads them.
   * Every reply to a changing call is sent after its commit is on disk. `request_id` makes a repeat
   * safe: the same id with the same body returns the first reply for 24 h, with another body fails
   * with REQUEST_ID_REUSED; ids are unique per namespace and method, only successes are kept. All
   * calls may fail with INVALID_FIELD, NAMESPACE_NOT_FOUND, UNAUTHENTICATED, NAMESPACE_DENIED,
   * TOO_MANY_CALLS, DRAINING, STORE_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL; changing calls also with
   * CONFLICT and REQUEST_ID_REUSED; calls that name a run with RUN_NOT_FOUND.
   * A server that was given a token file wants the metadata entry `authorization: Bearer TOKEN` with
   * every call and stream: UNAUTHENTICATED without a token that it knows, NAMESPACE_DENIED where the
   * token is not bound to the request's namespace. One that was given a client CA wants a certificate.
   * </pre>
   */
  public static final class RunServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<RunServiceBlockingStub> {
    private RunServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RunServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RunServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a run and, unless it is manual, starts to move it. With an event: starts the run if
     * there is none of that id, and gives the event to whichever run then has it (see
     * StartRunRequest.event).
     * Errors: WORKFLOW_NOT_FOUND, NODE_NOT_FOUND, RUN_EXISTS, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * CONCURRENCY_LIMIT, LIMIT_REACHED.
     * </pre>
     */
    public dev.perdure.v1.StartRunResponse startRun(dev.perdure.v1.StartRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getStartRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives a manual run node entries, then waits until they are used, the run settles or the call's
     * deadline. Errors: RUN_NOT_MANUAL, RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.TickRunResponse tickRun(dev.perdure.v1.TickRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getTickRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends the wait that is named, with an answer. The run continues at the wait's resume_to_node; the
     * waiting node is not run again. Allowed while the run is paused. Any wait_id but that of the
     * present wait gets WAIT_ENDED; beside a wait_id, any_wait changes nothing.
     * Errors: RUN_NOT_WAITING, WAIT_ENDED, WAIT_NOT_RESUMABLE, WAIT_KEY_MISMATCH, WAIT_ID_REQUIRED,
     * ANSWER_NOT_ALLOWED, INVALID_JSON, PAYLOAD_TOO_LARGE, RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.ResumeRunResponse resumeRun(dev.perdure.v1.ResumeRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResumeRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * One run, as this process knows it. Where several replicas share a store, it may be older than what
     * another one has acknowledged: that is known here within 250 ms while something goes on (1 s else;
     * mostly a hint makes it milliseconds), later only while a long transaction of another one is open, and
     * never forgotten again. WaitRun with min_seq reads what a reply of another one spoke of.
     * </pre>
     */
    public dev.perdure.v1.GetRunResponse getRun(dev.perdure.v1.GetRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Runs by (created_at, run_id) descending, without vars, output and error details.
     * Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.ListRunsResponse listRuns(dev.perdure.v1.ListRunsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListRunsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * How many runs match: exact to 10,000, then at least that.
     * </pre>
     */
    public dev.perdure.v1.CountRunsResponse countRuns(dev.perdure.v1.CountRunsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCountRunsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Waits of runs: the inbox. Oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.ListWaitsResponse listWaits(dev.perdure.v1.ListWaitsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListWaitsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Waits until the run is settled (ended, waiting, parked, idle, or paused with no attempt leased)
     * or ended, at most 50 s or the call's deadline; then returns it as it stands. It begins with what GetRun
     * would show: at another replica than the one that acknowledged it, a run that was opened again may
     * still be ended, a wait that was answered still open. min_seq rules that out.
     * </pre>
     */
    public dev.perdure.v1.WaitRunResponse waitRun(dev.perdure.v1.WaitRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getWaitRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * The run as GetRun would show it, then again after changes; changes close together may be sent as one. A
     * heartbeat comes every 15 s without other messages; goodbye is last. Errors: TOO_MANY_STREAMS.
     * </pre>
     */
    public java.util.Iterator<dev.perdure.v1.WatchRunResponse> watchRun(
        dev.perdure.v1.WatchRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Cancels a run: at once, or through its workflow's on_cancel_node. A second cancel ends that path
     * at once. Children are cancelled too, as they were started. Cancelling a run that has ended
     * changes nothing and succeeds.
     * </pre>
     */
    public dev.perdure.v1.CancelRunResponse cancelRun(dev.perdure.v1.CancelRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCancelRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Nothing new starts until UnpauseRun; what is under way may end and is recorded. Pausing a paused
     * run changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.PauseRunResponse pauseRun(dev.perdure.v1.PauseRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPauseRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Undoes PauseRun; on a run that is not paused it changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.UnpauseRunResponse unpauseRun(dev.perdure.v1.UnpauseRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUnpauseRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Decides about a parked step. Errors: STEP_NOT_PARKED, RUN_ENDED, INVALID_JSON.
     * </pre>
     */
    public dev.perdure.v1.ResolveStepResponse resolveStep(dev.perdure.v1.ResolveStepRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResolveStepMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Opens a failed run again at the step it failed at: same visit, same idempotency key, failures and
     * lapses counted from 0, attempt numbers that go on. An effect is executed again, not its node, unless
     * from_node asks for a new plan. What else the failed run held is gone: its children go on without it,
     * and its parent, if it has heard of the failure, is not told of the next end. An irreversible effect
     * that had begun may have been executed: the run is then parked IN_DOUBT, and ResolveStep decides.
     * A step of a manual run is due at once; the next node costs an entry again.
     * Errors: RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * VARS_TOO_LARGE.
     * </pre>
     */
    public dev.perdure.v1.RetryRunResponse retryRun(dev.perdure.v1.RetryRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRetryRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * RetryRun for one page of the failed runs that match a filter, newest first. Each run is a commit of
     * its own, and its outcome is told; one that is refused does not stop the others. Call again with
     * next_page_token until there is none; the pace is the caller's, between pages. A repeat with the same
     * request_id returns the first reply; where that was never given, it goes on, and a run that this
     * request had opened is not opened twice. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.RetryRunsResponse retryRuns(dev.perdure.v1.RetryRunsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRetryRunsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Moves a run that has not ended to another registered version of its workflow. Every node that the
     * run is bound for (where it stands, and where its open effect or its wait leads) must be in the
     * target, under its own name or the one in node_map; otherwise nothing changes and all faults are
     * named. Works in every activity, paused or not. A wait stays registered under its id. An open effect
     * keeps its key, and the worker that has it may report it; a node that a worker has is handed out
     * again as the next attempt, and a report of the former one is stale. Later plans are checked against
     * the target. Children keep their version. Migrating to the version that the run has changes nothing.
     * Errors: MIGRATION_REFUSED, WORKFLOW_NOT_FOUND, RUN_ENDED.
     * </pre>
     */
    public dev.perdure.v1.MigrateRunResponse migrateRun(dev.perdure.v1.MigrateRunRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getMigrateRunMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Appends an event to the event log. Runs that wait for it go on after it; runs that come to wait
     * for it later (within event retention) also get it, each once.
     * Errors: INVALID_JSON, PAYLOAD_TOO_LARGE.
     * </pre>
     */
    public dev.perdure.v1.EmitEventResponse emitEvent(dev.perdure.v1.EmitEventRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getEmitEventMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Events of one scope, oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.perdure.v1.ListEventsResponse listEvents(dev.perdure.v1.ListEventsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListEventsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service RunService.
   * <pre>
   * Starts runs, moves them, reads them.
   * Every reply to a changing call is sent after its commit is on disk. `request_id` makes a repeat
   * safe: the same id with the same body returns the first reply for 24 h, with another body fails
   * with REQUEST_ID_REUSED; ids are unique per namespace and method, only successes are kept. All
   * calls may fail with INVALID_FIELD, NAMESPACE_NOT_FOUND, UNAUTHENTICATED, NAMESPACE_DENIED,
   * TOO_MANY_CALLS, DRAINING, STORE_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL; changing calls also with
   * CONFLICT and REQUEST_ID_REUSED; calls that name a run with RUN_NOT_FOUND.
   * A server that was given a token file wants the metadata entry `authorization: Bearer TOKEN` with
   * every call and stream: UNAUTHENTICATED without a token that it knows, NAMESPACE_DENIED where the
   * token is not bound to the request's namespace. One that was given a client CA wants a certificate.
   * </pre>
   */
  public static final class RunServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<RunServiceFutureStub> {
    private RunServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected RunServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new RunServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a run and, unless it is manual, starts to move it. With an event: starts the run if
     * there is none of that id, and gives the event to whichever run then has it (see
     * StartRunRequest.event).
     * Errors: WORKFLOW_NOT_FOUND, NODE_NOT_FOUND, RUN_EXISTS, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * CONCURRENCY_LIMIT, LIMIT_REACHED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.StartRunResponse> startRun(
        dev.perdure.v1.StartRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getStartRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Gives a manual run node entries, then waits until they are used, the run settles or the call's
     * deadline. Errors: RUN_NOT_MANUAL, RUN_ENDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.TickRunResponse> tickRun(
        dev.perdure.v1.TickRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getTickRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Ends the wait that is named, with an answer. The run continues at the wait's resume_to_node; the
     * waiting node is not run again. Allowed while the run is paused. Any wait_id but that of the
     * present wait gets WAIT_ENDED; beside a wait_id, any_wait changes nothing.
     * Errors: RUN_NOT_WAITING, WAIT_ENDED, WAIT_NOT_RESUMABLE, WAIT_KEY_MISMATCH, WAIT_ID_REQUIRED,
     * ANSWER_NOT_ALLOWED, INVALID_JSON, PAYLOAD_TOO_LARGE, RUN_ENDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ResumeRunResponse> resumeRun(
        dev.perdure.v1.ResumeRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResumeRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * One run, as this process knows it. Where several replicas share a store, it may be older than what
     * another one has acknowledged: that is known here within 250 ms while something goes on (1 s else;
     * mostly a hint makes it milliseconds), later only while a long transaction of another one is open, and
     * never forgotten again. WaitRun with min_seq reads what a reply of another one spoke of.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.GetRunResponse> getRun(
        dev.perdure.v1.GetRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Runs by (created_at, run_id) descending, without vars, output and error details.
     * Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ListRunsResponse> listRuns(
        dev.perdure.v1.ListRunsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListRunsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * How many runs match: exact to 10,000, then at least that.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.CountRunsResponse> countRuns(
        dev.perdure.v1.CountRunsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCountRunsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Waits of runs: the inbox. Oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ListWaitsResponse> listWaits(
        dev.perdure.v1.ListWaitsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListWaitsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Waits until the run is settled (ended, waiting, parked, idle, or paused with no attempt leased)
     * or ended, at most 50 s or the call's deadline; then returns it as it stands. It begins with what GetRun
     * would show: at another replica than the one that acknowledged it, a run that was opened again may
     * still be ended, a wait that was answered still open. min_seq rules that out.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.WaitRunResponse> waitRun(
        dev.perdure.v1.WaitRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getWaitRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Cancels a run: at once, or through its workflow's on_cancel_node. A second cancel ends that path
     * at once. Children are cancelled too, as they were started. Cancelling a run that has ended
     * changes nothing and succeeds.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.CancelRunResponse> cancelRun(
        dev.perdure.v1.CancelRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCancelRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Nothing new starts until UnpauseRun; what is under way may end and is recorded. Pausing a paused
     * run changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.PauseRunResponse> pauseRun(
        dev.perdure.v1.PauseRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPauseRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Undoes PauseRun; on a run that is not paused it changes nothing. Errors: RUN_ENDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.UnpauseRunResponse> unpauseRun(
        dev.perdure.v1.UnpauseRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUnpauseRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Decides about a parked step. Errors: STEP_NOT_PARKED, RUN_ENDED, INVALID_JSON.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ResolveStepResponse> resolveStep(
        dev.perdure.v1.ResolveStepRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResolveStepMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Opens a failed run again at the step it failed at: same visit, same idempotency key, failures and
     * lapses counted from 0, attempt numbers that go on. An effect is executed again, not its node, unless
     * from_node asks for a new plan. What else the failed run held is gone: its children go on without it,
     * and its parent, if it has heard of the failure, is not told of the next end. An irreversible effect
     * that had begun may have been executed: the run is then parked IN_DOUBT, and ResolveStep decides.
     * A step of a manual run is due at once; the next node costs an entry again.
     * Errors: RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT, INVALID_JSON, PAYLOAD_TOO_LARGE,
     * VARS_TOO_LARGE.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.RetryRunResponse> retryRun(
        dev.perdure.v1.RetryRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRetryRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * RetryRun for one page of the failed runs that match a filter, newest first. Each run is a commit of
     * its own, and its outcome is told; one that is refused does not stop the others. Call again with
     * next_page_token until there is none; the pace is the caller's, between pages. A repeat with the same
     * request_id returns the first reply; where that was never given, it goes on, and a run that this
     * request had opened is not opened twice. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.RetryRunsResponse> retryRuns(
        dev.perdure.v1.RetryRunsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRetryRunsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Moves a run that has not ended to another registered version of its workflow. Every node that the
     * run is bound for (where it stands, and where its open effect or its wait leads) must be in the
     * target, under its own name or the one in node_map; otherwise nothing changes and all faults are
     * named. Works in every activity, paused or not. A wait stays registered under its id. An open effect
     * keeps its key, and the worker that has it may report it; a node that a worker has is handed out
     * again as the next attempt, and a report of the former one is stale. Later plans are checked against
     * the target. Children keep their version. Migrating to the version that the run has changes nothing.
     * Errors: MIGRATION_REFUSED, WORKFLOW_NOT_FOUND, RUN_ENDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.MigrateRunResponse> migrateRun(
        dev.perdure.v1.MigrateRunRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getMigrateRunMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Appends an event to the event log. Runs that wait for it go on after it; runs that come to wait
     * for it later (within event retention) also get it, each once.
     * Errors: INVALID_JSON, PAYLOAD_TOO_LARGE.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.EmitEventResponse> emitEvent(
        dev.perdure.v1.EmitEventRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getEmitEventMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Events of one scope, oldest first. Errors: INVALID_PAGE_TOKEN.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.perdure.v1.ListEventsResponse> listEvents(
        dev.perdure.v1.ListEventsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListEventsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_START_RUN = 0;
  private static final int METHODID_TICK_RUN = 1;
  private static final int METHODID_RESUME_RUN = 2;
  private static final int METHODID_GET_RUN = 3;
  private static final int METHODID_LIST_RUNS = 4;
  private static final int METHODID_COUNT_RUNS = 5;
  private static final int METHODID_LIST_WAITS = 6;
  private static final int METHODID_WAIT_RUN = 7;
  private static final int METHODID_WATCH_RUN = 8;
  private static final int METHODID_CANCEL_RUN = 9;
  private static final int METHODID_PAUSE_RUN = 10;
  private static final int METHODID_UNPAUSE_RUN = 11;
  private static final int METHODID_RESOLVE_STEP = 12;
  private static final int METHODID_RETRY_RUN = 13;
  private static final int METHODID_RETRY_RUNS = 14;
  private static final int METHODID_MIGRATE_RUN = 15;
  private static final int METHODID_EMIT_EVENT = 16;
  private static final int METHODID_LIST_EVENTS = 17;

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
        case METHODID_START_RUN:
          serviceImpl.startRun((dev.perdure.v1.StartRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.StartRunResponse>) responseObserver);
          break;
        case METHODID_TICK_RUN:
          serviceImpl.tickRun((dev.perdure.v1.TickRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.TickRunResponse>) responseObserver);
          break;
        case METHODID_RESUME_RUN:
          serviceImpl.resumeRun((dev.perdure.v1.ResumeRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ResumeRunResponse>) responseObserver);
          break;
        case METHODID_GET_RUN:
          serviceImpl.getRun((dev.perdure.v1.GetRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.GetRunResponse>) responseObserver);
          break;
        case METHODID_LIST_RUNS:
          serviceImpl.listRuns((dev.perdure.v1.ListRunsRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ListRunsResponse>) responseObserver);
          break;
        case METHODID_COUNT_RUNS:
          serviceImpl.countRuns((dev.perdure.v1.CountRunsRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.CountRunsResponse>) responseObserver);
          break;
        case METHODID_LIST_WAITS:
          serviceImpl.listWaits((dev.perdure.v1.ListWaitsRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ListWaitsResponse>) responseObserver);
          break;
        case METHODID_WAIT_RUN:
          serviceImpl.waitRun((dev.perdure.v1.WaitRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.WaitRunResponse>) responseObserver);
          break;
        case METHODID_WATCH_RUN:
          serviceImpl.watchRun((dev.perdure.v1.WatchRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.WatchRunResponse>) responseObserver);
          break;
        case METHODID_CANCEL_RUN:
          serviceImpl.cancelRun((dev.perdure.v1.CancelRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.CancelRunResponse>) responseObserver);
          break;
        case METHODID_PAUSE_RUN:
          serviceImpl.pauseRun((dev.perdure.v1.PauseRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.PauseRunResponse>) responseObserver);
          break;
        case METHODID_UNPAUSE_RUN:
          serviceImpl.unpauseRun((dev.perdure.v1.UnpauseRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.UnpauseRunResponse>) responseObserver);
          break;
        case METHODID_RESOLVE_STEP:
          serviceImpl.resolveStep((dev.perdure.v1.ResolveStepRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ResolveStepResponse>) responseObserver);
          break;
        case METHODID_RETRY_RUN:
          serviceImpl.retryRun((dev.perdure.v1.RetryRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.RetryRunResponse>) responseObserver);
          break;
        case METHODID_RETRY_RUNS:
          serviceImpl.retryRuns((dev.perdure.v1.RetryRunsRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.RetryRunsResponse>) responseObserver);
          break;
        case METHODID_MIGRATE_RUN:
          serviceImpl.migrateRun((dev.perdure.v1.MigrateRunRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.MigrateRunResponse>) responseObserver);
          break;
        case METHODID_EMIT_EVENT:
          serviceImpl.emitEvent((dev.perdure.v1.EmitEventRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.EmitEventResponse>) responseObserver);
          break;
        case METHODID_LIST_EVENTS:
          serviceImpl.listEvents((dev.perdure.v1.ListEventsRequest) request,
              (io.grpc.stub.StreamObserver<dev.perdure.v1.ListEventsResponse>) responseObserver);
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
          getStartRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.StartRunRequest,
              dev.perdure.v1.StartRunResponse>(
                service, METHODID_START_RUN)))
        .addMethod(
          getTickRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.TickRunRequest,
              dev.perdure.v1.TickRunResponse>(
                service, METHODID_TICK_RUN)))
        .addMethod(
          getResumeRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ResumeRunRequest,
              dev.perdure.v1.ResumeRunResponse>(
                service, METHODID_RESUME_RUN)))
        .addMethod(
          getGetRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.GetRunRequest,
              dev.perdure.v1.GetRunResponse>(
                service, METHODID_GET_RUN)))
        .addMethod(
          getListRunsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ListRunsRequest,
              dev.perdure.v1.ListRunsResponse>(
                service, METHODID_LIST_RUNS)))
        .addMethod(
          getCountRunsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.CountRunsRequest,
              dev.perdure.v1.CountRunsResponse>(
                service, METHODID_COUNT_RUNS)))
        .addMethod(
          getListWaitsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ListWaitsRequest,
              dev.perdure.v1.ListWaitsResponse>(
                service, METHODID_LIST_WAITS)))
        .addMethod(
          getWaitRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.WaitRunRequest,
              dev.perdure.v1.WaitRunResponse>(
                service, METHODID_WAIT_RUN)))
        .addMethod(
          getWatchRunMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.perdure.v1.WatchRunRequest,
              dev.perdure.v1.WatchRunResponse>(
                service, METHODID_WATCH_RUN)))
        .addMethod(
          getCancelRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.CancelRunRequest,
              dev.perdure.v1.CancelRunResponse>(
                service, METHODID_CANCEL_RUN)))
        .addMethod(
          getPauseRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.PauseRunRequest,
              dev.perdure.v1.PauseRunResponse>(
                service, METHODID_PAUSE_RUN)))
        .addMethod(
          getUnpauseRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.UnpauseRunRequest,
              dev.perdure.v1.UnpauseRunResponse>(
                service, METHODID_UNPAUSE_RUN)))
        .addMethod(
          getResolveStepMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ResolveStepRequest,
              dev.perdure.v1.ResolveStepResponse>(
                service, METHODID_RESOLVE_STEP)))
        .addMethod(
          getRetryRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.RetryRunRequest,
              dev.perdure.v1.RetryRunResponse>(
                service, METHODID_RETRY_RUN)))
        .addMethod(
          getRetryRunsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.RetryRunsRequest,
              dev.perdure.v1.RetryRunsResponse>(
                service, METHODID_RETRY_RUNS)))
        .addMethod(
          getMigrateRunMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.MigrateRunRequest,
              dev.perdure.v1.MigrateRunResponse>(
                service, METHODID_MIGRATE_RUN)))
        .addMethod(
          getEmitEventMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.EmitEventRequest,
              dev.perdure.v1.EmitEventResponse>(
                service, METHODID_EMIT_EVENT)))
        .addMethod(
          getListEventsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.perdure.v1.ListEventsRequest,
              dev.perdure.v1.ListEventsResponse>(
                service, METHODID_LIST_EVENTS)))
        .build();
  }

  private static abstract class RunServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    RunServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.perdure.v1.RunServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("RunService");
    }
  }

  private static final class RunServiceFileDescriptorSupplier
      extends RunServiceBaseDescriptorSupplier {
    RunServiceFileDescriptorSupplier() {}
  }

  private static final class RunServiceMethodDescriptorSupplier
      extends RunServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    RunServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (RunServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new RunServiceFileDescriptorSupplier())
              .addMethod(getStartRunMethod())
              .addMethod(getTickRunMethod())
              .addMethod(getResumeRunMethod())
              .addMethod(getGetRunMethod())
              .addMethod(getListRunsMethod())
              .addMethod(getCountRunsMethod())
              .addMethod(getListWaitsMethod())
              .addMethod(getWaitRunMethod())
              .addMethod(getWatchRunMethod())
              .addMethod(getCancelRunMethod())
              .addMethod(getPauseRunMethod())
              .addMethod(getUnpauseRunMethod())
              .addMethod(getResolveStepMethod())
              .addMethod(getRetryRunMethod())
              .addMethod(getRetryRunsMethod())
              .addMethod(getMigrateRunMethod())
              .addMethod(getEmitEventMethod())
              .addMethod(getListEventsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
