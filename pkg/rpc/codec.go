package rpc

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Encoded is a message that is written already, for SendMsg: what goes to hundreds of
// streams is written once.
type Encoded []byte

// exact writes messages into buffers of their own size. grpc-go's pool has
// buffers of 256 B, 4 KiB and 16 KiB: sixty messages of 300 B that wait for a slow
// reader would hold 240 KiB of its memory, and the stream's bound counts 18.
type exact struct{}

var _ encoding.CodecV2 = exact{}

// Marshal writes a message.
func (exact) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(Encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
	}
	msg, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("marshalling %T: no protobuf message", v)
	}
	raw, err := proto.Marshal(msg)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
}

// Unmarshal reads one.
func (exact) Unmarshal(data mem.BufferSlice, v any) error {
	msg, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("unmarshalling into %T: no protobuf message", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return proto.Unmarshal(buffer.ReadOnlyData(), msg)
}

// Name is grpc-go's for protobuf.
func (exact) Name() string { return "proto" }
