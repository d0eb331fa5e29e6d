package admin

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ListClusters lists the caller's clusters.
func (s *Server) ListClusters(ctx context.Context, req *adminv1.ListClustersRequest) (*adminv1.ListClustersResponse, error) {
	customer, err := s.whose(ctx, req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	if req.GetCustomerId() != "" {
		asked, err := s.customer(ctx, req.GetCustomerId())
		if err != nil {
			return nil, err
		}
		customer = some(asked)
	}
	clusters, token, err := s.Store.ClusterPage(ctx, store.ClusterList{
		Customer: customer, Search: req.GetSearch(), Status: req.GetStatus(), OrderBy: req.GetOrderBy(),
	}, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if err := s.Book.AddCosts(ctx, customer, clusters); err != nil {
		return nil, err
	}
	if err := s.Guard.Describe(ctx, clusters...); err != nil {
		return nil, err
	}
	return &adminv1.ListClustersResponse{Clusters: clusters, NextPageToken: token}, rpc.SetNextPage(ctx, token)
}

// CreateCluster registers a cluster and makes its agent's key.
func (s *Server) CreateCluster(ctx context.Context, req *adminv1.CreateClusterRequest) (*adminv1.CreateClusterResponse, error) {
	customer, err := s.customer(ctx, req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	if err := inRegion(req.GetRegion(), req.GetLaunch()); err != nil {
		return nil, err
	}
	secret, key := newKey(ctx, "agent", "agent of "+req.GetClusterName())
	resp := &adminv1.CreateClusterResponse{AgentApiKey: secret}
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		resp.Cluster, err = tx.CreateCluster(ctx, customer, req, key)
		if err != nil {
			return err
		}
		cluster, err := uuid.Parse(resp.GetCluster().GetClusterId())
		if err != nil {
			return err
		}
		actor := auth.From(ctx).Actor()
		if err := tx.Tell(ctx, customer, &adminv1.StreamResponse{
			Type: "cluster", Status: "created", ClusterId: cluster.String(), Subject: req.GetClusterName(), Actor: actor,
			Message: "cluster " + req.GetClusterName() + " was created",
		}); err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: actor, Action: "cluster.create", Customer: some(customer), Cluster: some(cluster), Subject: req.GetClusterName(),
			Detail: map[string]any{"mode": req.GetMode()},
		})
	})
	if err != nil {
		return nil, err
	}
	if err := s.Guard.Describe(ctx, resp.GetCluster()); err != nil {
		return nil, err
	}
	return resp, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}

// GetClusterState returns the cluster as last known.
func (s *Server) GetClusterState(ctx context.Context, req *adminv1.GetClusterStateRequest) (*adminv1.GetClusterStateResponse, error) {
	cluster, err := parse("cluster_id", req.GetClusterId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	state, err := s.Book.ClusterState(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	return &adminv1.GetClusterStateResponse{State: state}, nil
}
