package auth

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	_ "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1" // linked in, so that their RPCs are walked
	_ "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	_ "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// rpcs are all RPCs of the contract.
func rpcs(t *testing.T) []protoreflect.MethodDescriptor {
	t.Helper()
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				if strings.HasPrefix(string(service.FullName()), "cloudoptim.") {
					all = append(all, service.Methods().Get(j))
				}
			}
		}
		return true
	})
	slices.SortFunc(all, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return all
}

func path(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
}

func policyOf(m protoreflect.MethodDescriptor) []accessv1.Caller {
	policy, _ := proto.GetExtension(m.Options(), accessv1.E_Policy).(*accessv1.Policy)
	return policy.GetCallers()
}

// openToAnyone are the RPCs that work without a credential. Each one more is a decision.
var openToAnyone = []string{"GetHealth", "GetSignInOptions", "CreateSession"}

func TestEveryRPCOfTheContractSaysWhoMayCallIt(t *testing.T) {
	all := rpcs(t)
	if len(all) < 25 {
		t.Fatalf("only %d RPCs are linked in", len(all))
	}
	for _, m := range all {
		callers := policyOf(m)
		if len(callers) == 0 {
			t.Errorf("%s has no policy", path(m))
		}
		if slices.Contains(callers, accessv1.Caller_CALLER_UNSPECIFIED) {
			t.Errorf("%s lets in CALLER_UNSPECIFIED", path(m))
		}
		if slices.Contains(callers, accessv1.Caller_CALLER_ANYONE) && !slices.Contains(openToAnyone, string(m.Name())) {
			t.Errorf("%s is open to anyone and is neither a health check nor a sign-in", path(m))
		}
	}
}

// contract serves every RPC of the contract, none of them implemented, and one
// that the contract does not know, behind the real chain.
func contract(t *testing.T, keys *Keys) *grpc.ClientConn {
	t.Helper()
	srv := rpc.NewServer(rpc.ServerConfig{Log: slog.New(slog.DiscardHandler), Authorizer: keys})
	services := map[string]*grpc.ServiceDesc{}
	for _, m := range rpcs(t) {
		name := string(m.Parent().FullName())
		if services[name] == nil {
			services[name] = &grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil)}
		}
		unimplemented(services[name], m)
	}
	for _, service := range services {
		srv.RegisterService(service, nil)
	}
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "cloudoptim.unwritten.v1.Service", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: unwritten}},
	}, nil)
	conn, err := rpc.InProcess(srv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); srv.Stop() })
	return conn
}

// unimplemented adds an RPC that reads its message, as generated code does, and has no answer.
func unimplemented(service *grpc.ServiceDesc, m protoreflect.MethodDescriptor) {
	none := status.Error(codes.Unimplemented, "")
	if m.IsStreamingClient() || m.IsStreamingServer() {
		service.Streams = append(service.Streams, grpc.StreamDesc{
			StreamName: string(m.Name()), ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer(),
			Handler: func(_ any, stream grpc.ServerStream) error {
				if m.IsStreamingClient() {
					return none
				}
				if err := stream.RecvMsg(dynamicpb.NewMessage(m.Input())); err != nil {
					return err
				}
				return none
			},
		})
		return
	}
	service.Methods = append(service.Methods, grpc.MethodDesc{
		MethodName: string(m.Name()),
		Handler: func(_ any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC's order
			req := dynamicpb.NewMessage(m.Input())
			if err := decode(req); err != nil {
				return nil, err
			}
			done := func(context.Context, any) (any, error) { return nil, none }
			return chain(ctx, req, &grpc.UnaryServerInfo{FullMethod: path(m)}, done)
		},
	})
}

func unwritten(_ any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC's order
	req := &emptypb.Empty{}
	if err := decode(req); err != nil {
		return nil, err
	}
	done := func(context.Context, any) (any, error) { return &emptypb.Empty{}, nil }
	return chain(ctx, req, &grpc.UnaryServerInfo{FullMethod: "/cloudoptim.unwritten.v1.Service/Do"}, done)
}

// call calls any RPC with an empty message.
func call(ctx context.Context, conn *grpc.ClientConn, m protoreflect.MethodDescriptor) codes.Code {
	req, resp := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return status.Code(conn.Invoke(ctx, path(m), req, resp))
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, path(m))
	if err == nil {
		_ = stream.SendMsg(req) // the status comes with RecvMsg
		_ = stream.CloseSend()
		err = stream.RecvMsg(resp)
	}
	return status.Code(err)
}

func TestEveryRPCLetsInExactlyThoseItsPolicyNames(t *testing.T) {
	ring := newKeyring()
	conn := contract(t, newKeys(ring))
	callers := map[string]string{"nobody": "", "a stranger": "co_admin_made-up"}
	for scope := range kinds {
		callers[scope], _ = ring.make(scope)
	}
	for _, m := range rpcs(t) {
		for scope, secret := range callers {
			ctx := t.Context()
			if secret != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
			}
			got := call(ctx, conn, m)
			switch kind, known := kinds[scope]; {
			case slices.Contains(policyOf(m), accessv1.Caller_CALLER_ANYONE), known && slices.Contains(policyOf(m), kind):
				// Let in: an empty message breaks the rules, or the handler is not there.
				if got != codes.Unimplemented && got != codes.InvalidArgument {
					t.Errorf("%s by %s: %s, want to be let in", path(m), scope, got)
				}
			case known && got != codes.PermissionDenied:
				t.Errorf("%s by %s: %s, want PermissionDenied", path(m), scope, got)
			case !known && got != codes.Unauthenticated:
				t.Errorf("%s by %s: %s, want Unauthenticated", path(m), scope, got)
			}
		}
	}
}

func TestAnRPCWithoutAPolicyIsDeniedToAll(t *testing.T) {
	ring := newKeyring()
	conn := contract(t, newKeys(ring))
	for scope := range kinds {
		secret, _ := ring.make(scope)
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret)
		err := conn.Invoke(ctx, "/cloudoptim.unwritten.v1.Service/Do", &emptypb.Empty{}, &emptypb.Empty{})
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v, want PermissionDenied", scope, err)
		}
	}
}
