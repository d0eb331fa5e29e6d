package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// CreateAPIKey makes a key.
func (s *Server) CreateAPIKey(ctx context.Context, req *adminv1.CreateAPIKeyRequest) (*adminv1.CreateAPIKeyResponse, error) {
	customer, err := s.customer(ctx, req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	cluster, err := s.keyCluster(ctx, req, customer)
	if err != nil {
		return nil, err
	}
	secret, key := newKey(ctx, req.GetScope(), req.GetDescription())
	if req.GetExpiresAt() != nil {
		ends := req.GetExpiresAt().AsTime()
		if !ends.After(time.Now()) {
			return nil, fault.Invalid("expires_at", "must be in the future")
		}
		key.ExpiresAt = &ends
	}
	resp := &adminv1.CreateAPIKeyResponse{Secret: secret}
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		resp.ApiKey, err = tx.CreateKey(ctx, some(customer), cluster, key)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "api_key.create", Customer: some(customer), Cluster: cluster,
			Subject: resp.GetApiKey().GetApiKeyId(), Detail: map[string]any{"scope": req.GetScope(), "prefix": key.Prefix},
		})
	})
	if err != nil {
		return nil, err
	}
	return resp, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}

// keyCluster is the cluster of an agent's key, which must be the customer's;
// other keys have none.
func (s *Server) keyCluster(ctx context.Context, req *adminv1.CreateAPIKeyRequest, customer uuid.UUID) (uuid.NullUUID, error) {
	switch agent := req.GetScope() == "agent"; {
	case agent && req.GetClusterId() == "":
		return uuid.NullUUID{}, fault.Invalid("cluster_id", "must be given for scope agent")
	case !agent && req.GetClusterId() != "":
		return uuid.NullUUID{}, fault.Invalid("cluster_id", "must be empty unless the scope is agent")
	case !agent:
		return uuid.NullUUID{}, nil
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return cluster, err
	}
	owner, err := s.Store.CustomerOf(ctx, cluster.UUID)
	if err == nil && owner != customer { // only the platform's staff gets here
		err = fault.NotFound("cluster", req.GetClusterId())
	}
	return cluster, err
}

// ListAPIKeys lists keys without their secrets.
func (s *Server) ListAPIKeys(ctx context.Context, req *adminv1.ListAPIKeysRequest) (*adminv1.ListAPIKeysResponse, error) {
	customer, err := auth.Customer(ctx)
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
	keys, err := s.Store.Keys(ctx, customer)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListAPIKeysResponse{ApiKeys: keys}, nil
}

// RevokeAPIKey ends a key at once.
func (s *Server) RevokeAPIKey(ctx context.Context, req *adminv1.RevokeAPIKeyRequest) (*adminv1.RevokeAPIKeyResponse, error) {
	id, err := parse("api_key_id", req.GetApiKeyId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		key, err := tx.RevokeKey(ctx, id, customer)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "api_key.revoke", Customer: key.CustomerID, Cluster: key.ClusterID, Subject: id.String(),
			Detail: map[string]any{"scope": key.Scope},
		})
	})
	if err != nil {
		return nil, err
	}
	s.Keys.Revoked(ctx, id)
	return &adminv1.RevokeAPIKeyResponse{}, nil
}

// newKey makes a secret and what is stored of it.
func newKey(ctx context.Context, scope, description string) (string, store.NewKey) {
	secret, prefix, hash := auth.NewSecret(scope)
	// The column holds 255 characters, and a cluster's name alone may be so long.
	if runes := []rune(description); len(runes) > 255 {
		description = string(runes[:255])
	}
	return secret, store.NewKey{
		Hash: hash, Prefix: prefix, Scope: scope, Description: description, CreatedBy: auth.From(ctx).Actor(),
	}
}
