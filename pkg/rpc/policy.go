package rpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
)

// Authorizer decides whether a call may go on. It returns the context with the
// caller in it, or an error.
type Authorizer interface {
	Authorize(ctx context.Context, method string, policy *accessv1.Policy, bearer string) (context.Context, error)
}

// Limiter decides whether the caller in ctx has calls left.
type Limiter interface {
	// Allow returns how long to wait when the caller has none left.
	Allow(ctx context.Context) (wait time.Duration, ok bool)
}

// method is what the contract says of an RPC.
type method struct {
	policy *accessv1.Policy
	// body is the field that REST takes from the body alone, "" for all or none.
	body string
	// clientStream: the handler checks each message, for a bad one must not end the stream.
	clientStream bool
}

// policies reads every RPC of our contract that is linked in.
func policies() map[string]method {
	all := map[string]method{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "cloudoptim.") {
			return true
		}
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				all["/"+string(service.FullName())+"/"+string(m.Name())] = describe(m)
			}
		}
		return true
	})
	return all
}

func describe(m protoreflect.MethodDescriptor) method {
	out := method{clientStream: m.IsStreamingClient()}
	if policy, ok := proto.GetExtension(m.Options(), accessv1.E_Policy).(*accessv1.Policy); ok {
		out.policy = policy
	}
	if rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule); ok && rule.GetBody() != "*" {
		out.body = rule.GetBody()
	}
	return out
}

// open are services of gRPC's own that need no credential: they tell no more
// than the published contract and that the server runs.
func open(fullMethod string) bool {
	return strings.HasPrefix(fullMethod, "/grpc.health.v1.") || strings.HasPrefix(fullMethod, "/grpc.reflection.")
}

// Bearer is the credential of the call, "" if there is none.
func Bearer(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, value := range md.Get("authorization") {
		if scheme, token, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "bearer") {
			return strings.TrimSpace(token)
		}
	}
	return ""
}
