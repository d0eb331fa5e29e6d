package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
)

func TestEveryReasonHasAShapeOfItsOwn(t *testing.T) {
	for number, name := range faultv1.Reason_name {
		reason := faultv1.Reason(number)
		if _, ok := shapes[reason]; !ok && reason != faultv1.Reason_REASON_UNSPECIFIED {
			t.Errorf("%s has neither a gRPC code nor an HTTP status", name)
		}
	}
}

func TestAnErrorSurvivesTheWire(t *testing.T) {
	sent := Infeasible("max_price_ratio", "nothing is that cheap").With("ratio", 0.1)
	sent.RequestID = "req-1"
	got := From(fmt.Errorf("asking ml: %w", sent.GRPCStatus().Err()))
	if got.Reason != sent.Reason || got.Message != sent.Message || got.RequestID != "req-1" || got.Details["ratio"] != 0.1 {
		t.Errorf("sent %+v, got %+v", sent, got)
	}
}

func TestForeignErrorsAreReadForWhatTheyMean(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		reason faultv1.Reason
		shown  string
	}{
		"unknown":              {errors.New("pq: password of user x"), faultv1.Reason_REASON_INTERNAL, "internal error"},
		"an internal status":   {status.Error(codes.Internal, "stack"), faultv1.Reason_REASON_INTERNAL, "internal error"},
		"a lost connection":    {status.Error(codes.Unavailable, "dial tcp 10.0.0.1:1"), faultv1.Reason_REASON_UNAVAILABLE, "the server is unavailable, try again"},
		"a deadline":           {fmt.Errorf("x: %w", context.DeadlineExceeded), faultv1.Reason_REASON_DEADLINE_EXCEEDED, "the call took too long"},
		"a caller that left":   {context.Canceled, faultv1.Reason_REASON_CANCELLED, "the caller went away"},
		"not found elsewhere":  {status.Error(codes.NotFound, "no such method"), faultv1.Reason_REASON_NOT_FOUND, "no such method"},
		"wrapped, one of ours": {fmt.Errorf("x: %w", NotFound("cluster", "c")), faultv1.Reason_REASON_NOT_FOUND, "cluster c not found"},
	} {
		t.Run(name, func(t *testing.T) {
			got := From(c.err)
			if got.Reason != c.reason || got.Message != c.shown {
				t.Errorf("got %s %q, want %s %q", got.Reason, got.Message, c.reason, c.shown)
			}
		})
	}
}

func TestACauseIsNeverShown(t *testing.T) {
	e := Unavailable("the database", errors.New("SQLSTATE 57P01"))
	if body := e.Proto().String() + e.GRPCStatus().String(); strings.Contains(body, "SQLSTATE") {
		t.Errorf("the cause is shown: %s", body)
	}
	if !strings.Contains(e.Error(), "SQLSTATE") {
		t.Error("the cause is not in the log's text")
	}
}

func TestDetailsThatJSONCannotHoldAreShownAsText(t *testing.T) {
	e := New(faultv1.Reason_REASON_CONFLICT, "x").With("what", struct{ A int }{1})
	if got := e.Proto().GetDetails().AsMap()["what"]; got != "{1}" {
		t.Errorf("got %v", got)
	}
}
