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

// CreateCustomer registers a customer and makes its first key.
func (s *Server) CreateCustomer(ctx context.Context, req *adminv1.CreateCustomerRequest) (*adminv1.CreateCustomerResponse, error) {
	secret, key := newKey(ctx, "admin", "first key")
	// Unique per customer, so that one customer's role cannot be used for another.
	resp := &adminv1.CreateCustomerResponse{ExternalId: "cloudoptim-" + uuid.NewString(), AdminApiKey: secret}
	err := s.Store.InTx(ctx, func(tx *store.Store) error {
		customer, err := tx.CreateCustomer(ctx, req, resp.GetExternalId(), key)
		if err != nil {
			return err
		}
		resp.CustomerId = customer.String()
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "customer.create", Customer: some(customer), Subject: req.GetCompanyName(),
		})
	})
	if err != nil {
		return nil, err
	}
	return resp, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}
