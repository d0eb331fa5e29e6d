package fault

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
)

// From reads any error: an *Error is returned as it is, a gRPC status of ours is
// read back, a foreign status keeps its meaning, and anything else is INTERNAL
// with the cause kept for the log.
func From(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return New(faultv1.Reason_REASON_DEADLINE_EXCEEDED, "the call took too long").Because(err)
	}
	if errors.Is(err, context.Canceled) {
		return New(faultv1.Reason_REASON_CANCELLED, "the caller went away").Because(err)
	}
	if st, ok := status.FromError(err); ok && st.Code() != codes.Unknown {
		return fromStatus(st, err)
	}
	return New(faultv1.Reason_REASON_INTERNAL, "internal error").Because(err)
}

// ReasonOf is the reason of err as From reads it; of nil, unspecified.
func ReasonOf(err error) faultv1.Reason {
	if err == nil {
		return faultv1.Reason_REASON_UNSPECIFIED
	}
	return From(err).Reason
}

func fromStatus(st *status.Status, cause error) *Error {
	for _, detail := range st.Details() {
		if body, ok := detail.(*faultv1.Error); ok {
			reason := faultv1.Reason(faultv1.Reason_value["REASON_"+body.GetCode()])
			if reason == faultv1.Reason_REASON_UNSPECIFIED {
				reason = reasonOfCode(st.Code())
			}
			return &Error{Reason: reason, Message: body.GetMessage(), Details: body.GetDetails().AsMap(), RequestID: body.GetRequestId()}
		}
	}
	reason := reasonOfCode(st.Code())
	if reason == faultv1.Reason_REASON_INTERNAL {
		return New(reason, "internal error").Because(cause) // its text is not ours to show
	}
	if reason == faultv1.Reason_REASON_UNAVAILABLE { // gRPC's own text tells addresses
		return Unavailable("the server", cause)
	}
	return New(reason, "%s", st.Message())
}

func reasonOfCode(code codes.Code) faultv1.Reason {
	if reason, ok := reasons[code]; ok {
		return reason
	}
	return faultv1.Reason_REASON_INTERNAL
}

var reasons = map[codes.Code]faultv1.Reason{
	codes.InvalidArgument:    faultv1.Reason_REASON_MALFORMED_REQUEST,
	codes.OutOfRange:         faultv1.Reason_REASON_MALFORMED_REQUEST,
	codes.Unauthenticated:    faultv1.Reason_REASON_UNAUTHENTICATED,
	codes.PermissionDenied:   faultv1.Reason_REASON_PERMISSION_DENIED,
	codes.NotFound:           faultv1.Reason_REASON_NOT_FOUND,
	codes.AlreadyExists:      faultv1.Reason_REASON_CONFLICT,
	codes.Aborted:            faultv1.Reason_REASON_CONFLICT,
	codes.FailedPrecondition: faultv1.Reason_REASON_CONFLICT,
	codes.ResourceExhausted:  faultv1.Reason_REASON_RATE_LIMITED,
	codes.Unavailable:        faultv1.Reason_REASON_UNAVAILABLE,
	codes.Unimplemented:      faultv1.Reason_REASON_UNIMPLEMENTED,
	codes.DeadlineExceeded:   faultv1.Reason_REASON_DEADLINE_EXCEEDED,
	codes.Canceled:           faultv1.Reason_REASON_CANCELLED,
}
