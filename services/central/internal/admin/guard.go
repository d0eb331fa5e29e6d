package admin

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ListPolicies lists what was set.
func (s *Server) ListPolicies(ctx context.Context, req *adminv1.ListPoliciesRequest) (*adminv1.ListPoliciesResponse, error) {
	customer, cluster, err := s.listed(ctx, req.GetCustomerId(), req.GetClusterId())
	if err != nil {
		return nil, err
	}
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), store.PolicyOrder)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ListPoliciesResponse{}
	resp.Policies, resp.NextPageToken, err = s.Store.Policies(ctx, customer, cluster, page)
	if err != nil {
		return nil, err
	}
	return resp, rpc.SetNextPage(ctx, resp.GetNextPageToken())
}

// listed says whose things are listed: the caller's own, of the platform's staff all.
func (s *Server) listed(ctx context.Context, customerID, clusterID string) (customer, cluster uuid.NullUUID, err error) {
	if customer, err = auth.Customer(ctx); err != nil {
		return customer, cluster, err
	}
	if customerID != "" {
		one, err := s.customer(ctx, customerID)
		if err != nil {
			return customer, cluster, err
		}
		customer = some(one)
	}
	cluster, err = s.cluster(ctx, clusterID)
	return customer, cluster, err
}

// GetEffectivePolicy says what holds in a scope.
func (s *Server) GetEffectivePolicy(ctx context.Context, req *adminv1.GetEffectivePolicyRequest) (*adminv1.GetEffectivePolicyResponse, error) {
	scope, err := s.scope(ctx, req.GetCustomerId(), req.GetClusterId(), req.GetNamespace())
	if err != nil {
		return nil, err
	}
	policy, err := s.Guard.Effective(ctx, scope)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetEffectivePolicyResponse{Policy: policy}, nil
}

// SetPolicy replaces what was set for one scope.
func (s *Server) SetPolicy(ctx context.Context, req *adminv1.SetPolicyRequest) (*adminv1.SetPolicyResponse, error) {
	policy := req.GetPolicy()
	scope, err := s.scope(ctx, policy.GetCustomerId(), policy.GetClusterId(), policy.GetNamespace())
	if err != nil {
		return nil, err
	}
	now, err := s.Guard.SetPolicy(ctx, scope, policy, auth.From(ctx).Actor())
	if err != nil {
		return nil, err
	}
	return &adminv1.SetPolicyResponse{Policy: now}, nil
}

// scope reads whose policy is meant: with a cluster, its customer's.
func (s *Server) scope(ctx context.Context, customerID, clusterID, namespace string) (guard.Scope, error) {
	if clusterID == "" {
		if namespace != "" {
			return guard.Scope{}, fault.Invalid("cluster_id", "must be given with a namespace")
		}
		customer, err := s.customer(ctx, customerID)
		if err != nil {
			return guard.Scope{}, err
		}
		_, err = s.Store.CustomerName(ctx, customer) // one that is not there is not found
		return guard.Scope{Customer: customer}, err
	}
	cluster, err := s.cluster(ctx, clusterID)
	if err != nil {
		return guard.Scope{}, err
	}
	owner, err := s.Store.CustomerOf(ctx, cluster.UUID)
	if err == nil && customerID != "" && customerID != owner.String() {
		err = fault.NotFound("cluster", clusterID)
	}
	return guard.Scope{Customer: owner, Cluster: cluster, Namespace: namespace}, err
}

// ListStops lists stops, the newest first.
func (s *Server) ListStops(ctx context.Context, req *adminv1.ListStopsRequest) (*adminv1.ListStopsResponse, error) {
	customer, cluster, err := s.listed(ctx, "", req.GetClusterId())
	if err != nil {
		return nil, err
	}
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), store.StopOrder)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ListStopsResponse{}
	resp.Stops, resp.NextPageToken, err = s.Store.Stops(ctx, customer, cluster, req.GetIncludeLifted(), page)
	if err != nil {
		return nil, err
	}
	return resp, rpc.SetNextPage(ctx, resp.GetNextPageToken())
}

// CreateStop stops everything disruptive in a scope.
func (s *Server) CreateStop(ctx context.Context, req *adminv1.CreateStopRequest) (*adminv1.CreateStopResponse, error) {
	stop := store.NewStop{
		Scope: req.GetScope(), Reason: req.GetReason(), Actor: auth.From(ctx).Actor(), IncludeInterruptions: req.GetIncludeInterruptions(),
	}
	if req.GetScope() == "platform" {
		own, err := auth.Customer(ctx)
		if err != nil {
			return nil, err
		}
		if own.Valid {
			return nil, fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "only the platform's staff stops the whole platform")
		}
		return s.stop(ctx, stop)
	}
	if (req.GetScope() == "cluster") != (req.GetClusterId() != "") {
		return nil, fault.Invalid("cluster_id", "must be given for scope cluster, and only for that")
	}
	scope, err := s.scope(ctx, req.GetCustomerId(), req.GetClusterId(), "")
	if err != nil {
		return nil, err
	}
	stop.Customer, stop.Cluster = some(scope.Customer), scope.Cluster
	return s.stop(ctx, stop)
}

func (s *Server) stop(ctx context.Context, n store.NewStop) (*adminv1.CreateStopResponse, error) {
	stop, _, err := s.Guard.Stop(ctx, n)
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateStopResponse{Stop: stop}, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}

// LiftStop ends a stop.
func (s *Server) LiftStop(ctx context.Context, req *adminv1.LiftStopRequest) (*adminv1.LiftStopResponse, error) {
	id, err := parse("stop_id", req.GetStopId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	stop, err := s.Guard.Lift(ctx, id, customer, auth.From(ctx).Actor(), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &adminv1.LiftStopResponse{Stop: stop}, nil
}
