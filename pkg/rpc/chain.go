package rpc

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

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
	ctx, err := c.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	wrapped := &stream{ServerStream: ss, ctx: ctx}
	if !info.IsClientStream {
		wrapped.check = func(msg any) error { return c.validate(info.FullMethod, msg) }
	}
	return next(srv, wrapped)
}

// admit is authorize and rate limit.
func (c chain) admit(ctx context.Context, fullMethod string) (context.Context, error) {
	if open(fullMethod) {
		return ctx, nil
	}
	ctx, err := c.authorizer.Authorize(ctx, fullMethod, c.policies[fullMethod].policy, bearer(ctx))
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
	return known.GRPCStatus().Err()
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
