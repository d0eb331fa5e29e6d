package schedule

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

func newStamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func quarter(n int) string { return fmt.Sprintf("%02d:%02d", n/4, n%4*15) }
