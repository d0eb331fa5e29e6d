// Package fault turns everything that can go wrong into what a client can act on: a reason, a sentence and facts.
package fault

import (
	"fmt"
	"maps"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
)

// Domain is the domain of the google.rpc.ErrorInfo that every error carries.
const Domain = "cloudoptim"

// Error is a failure a client can act on. The message and the details are
// shown to callers; the cause is for the log alone.
type Error struct {
	Reason  faultv1.Reason
	Message string
	Details map[string]any
	// RequestID is set where the error leaves the server.
	RequestID string

	cause error
}

// New makes an error of the given reason; the message is shown to callers.
func New(reason faultv1.Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Invalid says that field violates constraint: 422.
func Invalid(field, constraint string) *Error {
	return New(faultv1.Reason_REASON_INVALID_REQUEST, "Invalid %s provided", field).
		With("field", field).With("constraint", constraint)
}

// Malformed says that the request could not be read: 400.
func Malformed(format string, args ...any) *Error {
	return New(faultv1.Reason_REASON_MALFORMED_REQUEST, format, args...)
}

// NotFound says that there is no such thing, or none the caller may see: 404.
func NotFound(kind, id string) *Error {
	return New(faultv1.Reason_REASON_NOT_FOUND, "%s %s not found", kind, id).With(kind, id)
}

// Infeasible says that nothing satisfies the request and names the constraint that binds: 422.
func Infeasible(constraint, format string, args ...any) *Error {
	return New(faultv1.Reason_REASON_INFEASIBLE, format, args...).With("constraint", constraint)
}

// Unimplemented says that the RPC is part of the contract and not built yet: 501.
func Unimplemented(what string) *Error {
	return New(faultv1.Reason_REASON_UNIMPLEMENTED, "%s is not implemented yet", what)
}

// Unavailable says that a part this call needs is away: 503.
func Unavailable(part string, cause error) *Error {
	return New(faultv1.Reason_REASON_UNAVAILABLE, "%s is unavailable, try again", part).Because(cause)
}

// With adds a fact and returns e.
func (e *Error) With(key string, value any) *Error {
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	e.Details[key] = value
	return e
}

// Because keeps the cause for the log and returns e.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// Error has the cause too; what callers see is Message.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code(), e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code(), e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Code is the reason's name as REST shows it, e.g. INVALID_REQUEST.
func (e *Error) Code() string {
	return strings.TrimPrefix(e.Reason.String(), "REASON_")
}

// Proto is the error as it is shown to callers.
func (e *Error) Proto() *faultv1.Error {
	details, err := structpb.NewStruct(e.Details)
	if err != nil { // a value JSON cannot hold: show it as text
		text := maps.Clone(e.Details)
		for k, v := range text {
			text[k] = fmt.Sprint(v)
		}
		details, _ = structpb.NewStruct(text)
	}
	return &faultv1.Error{
		Code: e.Code(), Message: e.Message, Details: details,
		RequestId: e.RequestID, Timestamp: timestamppb.Now(),
	}
}

// GRPCStatus makes e a gRPC status with ErrorInfo, BadRequest for a bad field,
// and the whole fault.v1.Error, from which REST makes its body.
func (e *Error) GRPCStatus() *status.Status {
	st := status.New(shapeOf(e.Reason).code, e.Message)
	facts := make(map[string]string, len(e.Details))
	for k, v := range e.Details {
		facts[k] = fmt.Sprint(v)
	}
	withInfo, err := st.WithDetails(&errdetails.ErrorInfo{Reason: e.Code(), Domain: Domain, Metadata: facts}, e.Proto())
	if err != nil {
		return st
	}
	if facts["field"] == "" {
		return withInfo
	}
	withField, err := withInfo.WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: facts["field"], Description: facts["constraint"]},
	}})
	if err != nil {
		return withInfo
	}
	return withField
}

type shape struct {
	code codes.Code
	http int
}

// HTTPStatus is the status REST answers an error of this reason with.
func HTTPStatus(reason faultv1.Reason) int { return shapeOf(reason).http }

func shapeOf(reason faultv1.Reason) shape {
	if s, ok := shapes[reason]; ok {
		return s
	}
	return shape{codes.Internal, 500}
}

var shapes = map[faultv1.Reason]shape{
	faultv1.Reason_REASON_INVALID_REQUEST:        {codes.InvalidArgument, 422},
	faultv1.Reason_REASON_MALFORMED_REQUEST:      {codes.InvalidArgument, 400},
	faultv1.Reason_REASON_UNAUTHENTICATED:        {codes.Unauthenticated, 401},
	faultv1.Reason_REASON_PERMISSION_DENIED:      {codes.PermissionDenied, 403},
	faultv1.Reason_REASON_NOT_FOUND:              {codes.NotFound, 404},
	faultv1.Reason_REASON_CONFLICT:               {codes.AlreadyExists, 409},
	faultv1.Reason_REASON_RATE_LIMITED:           {codes.ResourceExhausted, 429},
	faultv1.Reason_REASON_INTERNAL:               {codes.Internal, 500},
	faultv1.Reason_REASON_UNAVAILABLE:            {codes.Unavailable, 503},
	faultv1.Reason_REASON_UNIMPLEMENTED:          {codes.Unimplemented, 501},
	faultv1.Reason_REASON_DEADLINE_EXCEEDED:      {codes.DeadlineExceeded, 504},
	faultv1.Reason_REASON_INFEASIBLE:             {codes.FailedPrecondition, 422},
	faultv1.Reason_REASON_STALE_STATE:            {codes.FailedPrecondition, 409},
	faultv1.Reason_REASON_AGENT_OFFLINE:          {codes.FailedPrecondition, 409},
	faultv1.Reason_REASON_OPTIMIZATION_RUNNING:   {codes.FailedPrecondition, 409},
	faultv1.Reason_REASON_SUPERSEDED:             {codes.Aborted, 409},
	faultv1.Reason_REASON_CANCELLED:              {codes.Canceled, 499},
	faultv1.Reason_REASON_TOO_LARGE:              {codes.InvalidArgument, 413},
	faultv1.Reason_REASON_UNSUPPORTED_MEDIA_TYPE: {codes.InvalidArgument, 415},
	faultv1.Reason_REASON_STOPPED:                {codes.FailedPrecondition, 409},
	faultv1.Reason_REASON_NOT_ALLOWED_BY_POLICY:  {codes.PermissionDenied, 403},
}
