package auth

import (
	"context"
	"strings"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// streams are the open ones, by the ids of all whose end is theirs: a call is checked
// when it begins, but a stream may outlive its key.
type streams struct {
	mu   sync.Mutex
	byID map[uuid.UUID]map[*stream]struct{}
	// closed is why no stream may be open any more, nil while they may.
	closed error
}

// credential is what a stream was opened with.
type credential struct {
	hash    []byte
	session bool
	// ids are the credential's own, then those of whom it speaks for.
	ids []uuid.UUID
}

type stream struct {
	credential
	cancel context.CancelCauseFunc
}

func newStreams() *streams {
	return &streams{byID: map[uuid.UUID]map[*stream]struct{}{}}
}

// open notes a stream until its context ends.
func (s *streams) open(parent context.Context, with credential) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	opened := &stream{credential: with, cancel: cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		cancel(s.closed)
		return ctx
	}
	for _, id := range with.ids {
		if s.byID[id] == nil {
			s.byID[id] = map[*stream]struct{}{}
		}
		s.byID[id][opened] = struct{}{}
	}
	context.AfterFunc(ctx, func() {
		cancel(nil)
		s.forget(opened)
	})
	return ctx
}

func (s *streams) forget(ended *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ended.ids {
		delete(s.byID[id], ended)
		if len(s.byID[id]) == 0 {
			delete(s.byID, id)
		}
	}
}

// end ends the streams of a key, a session, a member or a customer.
func (s *streams) end(id uuid.UUID, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for opened := range s.byID[id] {
		opened.cancel(why)
	}
}

// close ends all streams, and those that are opened from now on.
func (s *streams) close(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = why
	for _, all := range s.byID {
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

// credentials are those with open streams, each once.
func (s *streams) credentials() map[uuid.UUID]credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[uuid.UUID]credential{}
	for _, opened := range s.byID {
		for one := range opened {
			if len(one.ids) > 0 {
				all[one.ids[0]] = one.credential
			}
		}
	}
	return all
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
