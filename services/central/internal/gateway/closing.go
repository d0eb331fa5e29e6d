package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// maxReason is what a close frame has room for.
const maxReason = 123

// lastWords is the documented error body, sent as the last frame.
func lastWords(known *fault.Error) []byte {
	frame, err := encode(everything, &faultv1.ErrorBody{Error: known.Proto()})
	if err != nil {
		return []byte("{}")
	}
	return frame
}

// closing is the close frame of an error: the codes that WebSocket has for it,
// else 4000 plus the status REST would have answered with.
func closing(known *fault.Error) (websocket.StatusCode, string) {
	reason := known.Code() + ": " + known.Message
	for len(reason) > maxReason {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	switch known.Reason {
	case faultv1.Reason_REASON_INTERNAL:
		return websocket.StatusInternalError, reason
	case faultv1.Reason_REASON_UNAVAILABLE:
		return websocket.StatusTryAgainLater, reason
	case faultv1.Reason_REASON_CANCELLED:
		return websocket.StatusGoingAway, reason
	default:
		return websocket.StatusCode(4000 + fault.HTTPStatus(known.Reason)), reason
	}
}

var (
	// everything writes each field, as REST does.
	everything = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	// present writes the fields that are set, as the guide shows the dashboard's messages.
	present = protojson.MarshalOptions{UseProtoNames: true}
)

// encode is protojson without its deliberately unstable spaces.
func encode(how protojson.MarshalOptions, msg proto.Message) ([]byte, error) {
	raw, err := how.Marshal(msg)
	if err != nil {
		return nil, err
	}
	var tidy bytes.Buffer
	err = json.Compact(&tidy, raw)
	return tidy.Bytes(), err
}

// explain is protojson's complaint in words without its internals.
func explain(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
}
