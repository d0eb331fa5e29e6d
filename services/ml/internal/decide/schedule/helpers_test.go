package schedule

import (
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type timestamp = timestamppb.Timestamp

func newStamp(t time.Time) *timestamp { return timestamppb.New(t) }

func validate(m proto.Message) error { return protovalidate.Validate(m) }
