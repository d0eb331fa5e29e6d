package admin

import (
	"context"
	"net/http"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

// OIDC is how people sign in with an OpenID provider; the zero OIDC: they do not.
type OIDC struct {
	// Name for people, and the path that their browser is sent to.
	Name, URL string
}

// GetSignInOptions says how one can sign in.
func (s *Server) GetSignInOptions(context.Context, *adminv1.GetSignInOptionsRequest) (*adminv1.GetSignInOptionsResponse, error) {
	return &adminv1.GetSignInOptionsResponse{ApiKey: true, Oidc: s.OIDC.URL != "", OidcName: s.OIDC.Name, OidcUrl: s.OIDC.URL}, nil
}

// CreateSession signs in with an API key. The session's secret goes to the front door alone, which makes a
// cookie of it. A session that the call comes with ends.
func (s *Server) CreateSession(ctx context.Context, req *adminv1.CreateSessionRequest) (*adminv1.CreateSessionResponse, error) {
	session, err := s.Door.WithKey(ctx, req.GetApiKey(), auth.SessionHash(rpc.Bearer(ctx)))
	if err != nil {
		return nil, err
	}
	me, err := s.me(auth.With(ctx, session.Caller))
	if err != nil {
		return nil, err
	}
	if err := auth.HandSecret(ctx, session.Secret); err != nil {
		return nil, err
	}
	return &adminv1.CreateSessionResponse{Me: me, ExpiresAt: timestamppb.New(session.Ends)}, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}

// EndSession signs out.
func (s *Server) EndSession(ctx context.Context, _ *adminv1.EndSessionRequest) (*adminv1.EndSessionResponse, error) {
	if err := s.Door.End(ctx); err != nil {
		return nil, err
	}
	return &adminv1.EndSessionResponse{}, nil
}

// GetMe says who the caller is and what it may do.
func (s *Server) GetMe(ctx context.Context, _ *adminv1.GetMeRequest) (*adminv1.GetMeResponse, error) {
	me, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetMeResponse{Me: me}, nil
}

func (s *Server) me(ctx context.Context) (*adminv1.Me, error) {
	caller := auth.From(ctx)
	me := &adminv1.Me{
		Actor: caller.Actor(), Name: caller.Description, Role: caller.Scope, SignedInWith: "api_key", MayCall: mayCall(caller.Kind),
	}
	if caller.MemberID.Valid {
		me.Name, me.SignedInWith = caller.Email, "oidc"
	}
	if !caller.CustomerID.Valid {
		return me, nil
	}
	name, err := s.Store.CustomerName(ctx, caller.CustomerID.UUID)
	me.CustomerId, me.CustomerName = caller.CustomerID.UUID.String(), name
	return me, err
}

// mayCall are the RPCs of the admin product whose policy lets a kind of caller in.
func mayCall(kind accessv1.Caller) []string {
	var all []string
	protoregistry.GlobalFiles.RangeFilesByPackage(adminv1.File_cloudoptim_admin_v1_account_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			all = append(all, ofService(file.Services().Get(i), kind)...)
		}
		return true
	})
	slices.Sort(all)
	return all
}

func ofService(service protoreflect.ServiceDescriptor, kind accessv1.Caller) []string {
	var some []string
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		policy, _ := proto.GetExtension(method.Options(), accessv1.E_Policy).(*accessv1.Policy)
		callers := policy.GetCallers()
		if slices.Contains(callers, kind) || slices.Contains(callers, accessv1.Caller_CALLER_ANYONE) {
			some = append(some, string(service.Name())+"/"+string(method.Name()))
		}
	}
	return some
}
