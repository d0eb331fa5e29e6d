package rpc

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

type chain struct {
	log        *slog.Logger
	authorizer Authorizer
	limiter    Limiter
	validator  protovalidate.Validator
	policies   map[string]method
}

func (c chain) unary() []grpc.UnaryServerInterceptor {
	return []grpc.UnaryServerInterceptor{c.unaryOutside, c.unaryInside}
}

func (c chain) stream() []grpc.StreamServerInterceptor {
	return []grpc.StreamServerInterceptor{c.streamOutside, c.streamInside}
}

// unaryOutside names the request, logs it and turns its error into a status.
func (c chain) unaryOutside(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	start := time.Now()
	ctx = withRequestID(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDKey, RequestID(ctx)))
	resp, err := next(ctx, req)
	return resp, c.finish(ctx, info.FullMethod, start, err)
}

func (c chain) unaryInside(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer c.recovered(ctx, &err)
	ctx, err = c.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if err := c.validate(info.FullMethod, req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (c chain) streamOutside(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	start := time.Now()
	ctx := withRequestID(ss.Context())
	_ = ss.SetHeader(metadata.Pairs(requestIDKey, RequestID(ctx)))
	err := next(srv, &stream{ServerStream: ss, ctx: ctx})
	return c.finish(ctx, info.FullMethod, start, err)
}

func (c chain) streamInside(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer c.recovered(ss.Context(), &err)
	ctx, err := c.admitStream(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	wrapped := &stream{ServerStream: ss, ctx: ctx}
	if !info.IsClientStream {
		wrapped.check = func(msg any) error { return c.validate(info.FullMethod, msg) }
	}
	return next(srv, wrapped)
}

// admitStream is admit in a goroutine of its own: the stack that asking a database
// needs would otherwise stay with a stream for hours.
func (c chain) admitStream(parent context.Context, fullMethod string) (ctx context.Context, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.recovered(parent, &err)
		ctx, err = c.admit(parent, fullMethod)
	}()
	<-done
	return ctx, err
}

// admit is authorize and rate limit.
func (c chain) admit(ctx context.Context, fullMethod string) (context.Context, error) {
	if open(fullMethod) {
		return ctx, nil
	}
	ctx, err := c.authorizer.Authorize(ctx, fullMethod, c.policies[fullMethod].policy, Bearer(ctx))
	if err != nil {
		return ctx, err
	}
	if c.limiter == nil {
		return ctx, nil
	}
	if wait, ok := c.limiter.Allow(ctx); !ok {
		seconds := math.Ceil(wait.Seconds())
		return ctx, fault.New(faultv1.Reason_REASON_RATE_LIMITED, "Rate limit exceeded, retry after %.0f s", seconds).
			With("retry_after_seconds", seconds)
	}
	return ctx, nil
}

func (c chain) validate(fullMethod string, req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	return violation(c.validator.Validate(msg), c.policies[fullMethod].body)
}

func (c chain) recovered(ctx context.Context, err *error) {
	if p := recover(); p != nil {
		c.log.ErrorContext(ctx, "handler panicked", "panic", p, "stack", string(debug.Stack()))
		*err = fault.New(faultv1.Reason_REASON_INTERNAL, "internal error")
	}
}

// finish logs the call and answers its error. What callers may not see, the
// cause, is logged here and nowhere else.
func (c chain) finish(ctx context.Context, fullMethod string, start time.Time, err error) error {
	attrs := []any{"method", fullMethod, "request_id", RequestID(ctx), "duration_ms", time.Since(start).Milliseconds()}
	if err == nil {
		c.log.DebugContext(ctx, "call", attrs...)
		return nil
	}
	known := *fault.From(err)
	known.RequestID = RequestID(ctx)
	attrs = append(attrs, "code", known.Code())
	switch {
	case known.Reason == faultv1.Reason_REASON_INTERNAL:
		c.log.ErrorContext(ctx, "call failed", append(attrs, "error", err.Error())...)
	case errors.Unwrap(&known) != nil && known.Reason != faultv1.Reason_REASON_CANCELLED:
		c.log.WarnContext(ctx, "call failed", append(attrs, "error", err.Error())...)
	default:
		c.log.DebugContext(ctx, "call refused", append(attrs, "message", known.Message)...)
	}
	return withRetry(known.GRPCStatus(), &known).Err()
}

// withRetry says in gRPC's own words when to come again, as Retry-After does in REST.
func withRetry(st *status.Status, known *fault.Error) *status.Status {
	seconds, ok := known.Details["retry_after_seconds"].(float64)
	if !ok {
		return st
	}
	with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(seconds * float64(time.Second)))})
	if err != nil {
		return st
	}
	return with
}

// stream is a ServerStream with a context and a check of what comes in.
type stream struct {
	grpc.ServerStream
	ctx   context.Context //nolint:containedctx // grpc.ServerStream hands its context out by method
	check func(msg any) error
}

// Context has the caller and the request id.
func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg receives and checks.
func (s *stream) RecvMsg(msg any) error {
	if err := s.ServerStream.RecvMsg(msg); err != nil || s.check == nil {
		return err
	}
	return s.check(msg)
}
