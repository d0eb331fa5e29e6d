package auth

import (
	"context"
	"strings"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// streams are the open ones, by key: a call is checked when it begins, but a
// stream may outlive its key.
type streams struct {
	mu    sync.Mutex
	byKey map[uuid.UUID]map[*stream]struct{}
	// closed is why no stream may be open any more, nil while they may.
	closed error
}

type stream struct {
	hash   []byte
	cancel context.CancelCauseFunc
}

func newStreams() *streams {
	return &streams{byKey: map[uuid.UUID]map[*stream]struct{}{}}
}

// open notes a stream until its context ends.
func (s *streams) open(parent context.Context, key uuid.UUID, hash []byte) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	opened := &stream{hash: hash, cancel: cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		cancel(s.closed)
		return ctx
	}
	if s.byKey[key] == nil {
		s.byKey[key] = map[*stream]struct{}{}
	}
	s.byKey[key][opened] = struct{}{}
	context.AfterFunc(ctx, func() {
		cancel(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byKey[key], opened)
		if len(s.byKey[key]) == 0 {
			delete(s.byKey, key)
		}
	})
	return ctx
}

// end ends the streams of a key.
func (s *streams) end(key uuid.UUID, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for opened := range s.byKey[key] {
		opened.cancel(why)
	}
}

// close ends all streams, and those that are opened from now on.
func (s *streams) close(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = why
	for _, all := range s.byKey {
		for opened := range all {
			opened.cancel(why)
		}
	}
}

type checkContext struct{}

// withCheck puts into a stream's context how to ask again whether it may go on.
func withCheck(ctx context.Context, check func() error) context.Context {
	return context.WithValue(ctx, checkContext{}, check)
}

// Check tells why the stream in ctx may not be told any more; nil: it may. What is
// known is up to ten seconds old, so it may be asked for every message.
func Check(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if check, ok := ctx.Value(checkContext{}).(func() error); ok {
		return check()
	}
	return nil
}

// keys are the keys with open streams, and their hashes.
func (s *streams) keys() map[uuid.UUID][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	hashes := make(map[uuid.UUID][]byte, len(s.byKey))
	for key, all := range s.byKey {
		for opened := range all {
			hashes[key] = opened.hash
			break
		}
	}
	return hashes
}

// streaming tells whether a method, as gRPC writes it, is a stream.
func streaming(method string) bool {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return false
	}
	m, ok := found.(protoreflect.MethodDescriptor)
	return ok && (m.IsStreamingClient() || m.IsStreamingServer())
}
