package gateway

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// framesKept bounds the cache: the same messages go to hundreds of dashboards at
// about the same time.
const framesKept = 1024

// frame is a message of the dashboards' stream as a text frame.
type frame struct {
	json []byte
	// last: it is a bye.
	last bool
}

// frames reads the stream's messages as frames. A message that goes to many is
// written as JSON once: that is dearer than all the rest of bringing it there.
type frames struct {
	mu sync.Mutex
	// young and old are keyed by the message's bytes; when young is full it becomes old.
	young, old map[string]*frame
}

func newFrames() *frames { return &frames{young: map[string]*frame{}} }

// Name is grpc-go's for protobuf.
func (f *frames) Name() string { return "proto" }

// Marshal writes a request.
func (f *frames) Marshal(v any) (mem.BufferSlice, error) {
	msg, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("marshalling %T: no protobuf message", v)
	}
	raw, err := proto.Marshal(msg)
	return mem.BufferSlice{mem.SliceBuffer(raw)}, err
}

// Unmarshal reads a message of the stream.
func (f *frames) Unmarshal(data mem.BufferSlice, v any) error {
	out, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("unmarshalling into %T: no frame", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	raw := buffer.ReadOnlyData()
	if known := f.find(raw); known != nil {
		*out = *known
		return nil
	}
	msg := &adminv1.StreamResponse{}
	if err := proto.Unmarshal(raw, msg); err != nil {
		return err
	}
	json, err := encode(present, msg)
	if err != nil {
		return err
	}
	*out = frame{json: json, last: msg.GetType() == "bye"}
	if msg.GetSequence() > 0 && msg.GetType() != "heartbeat" {
		f.keep(raw, *out)
	}
	return nil
}

func (f *frames) find(raw []byte) *frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.young[string(raw)]; known != nil {
		return known
	}
	return f.old[string(raw)]
}

func (f *frames) keep(raw []byte, one frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.young) >= framesKept {
		f.young, f.old = map[string]*frame{}, f.young
	}
	f.young[string(raw)] = &one
}
