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
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
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
		if slices.Contains(callers, accessv1.Caller_CALLER_ANYONE) && !strings.Contains(string(m.Name()), "Health") {
			t.Errorf("%s is open to anyone and is no health check", path(m))
		}
	}
}

// contract serves every RPC of the contract, none of them implemented, and one
// that the contract does not know, behind the real chain.
func contract(t *testing.T, keys *Keys) *grpc.ClientConn {
	t.Helper()
	srv := rpc.NewServer(rpc.ServerConfig{Log: slog.New(slog.DiscardHandler), Authorizer: keys})
	agentv1.RegisterAgentServiceServer(srv, agentv1.UnimplementedAgentServiceServer{})
	adminv1.RegisterAdminServiceServer(srv, adminv1.UnimplementedAdminServiceServer{})
	mlv1.RegisterDecisionServiceServer(srv, mlv1.UnimplementedDecisionServiceServer{})
	mlv1.RegisterPredictionServiceServer(srv, mlv1.UnimplementedPredictionServiceServer{})
	mlv1.RegisterDataServiceServer(srv, mlv1.UnimplementedDataServiceServer{})
	mlv1.RegisterModelServiceServer(srv, mlv1.UnimplementedModelServiceServer{})
	mlv1.RegisterMarketServiceServer(srv, mlv1.UnimplementedMarketServiceServer{})
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
