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

// ListCustomers lists customers by name; a customer's own callers see that one.
func (s *Server) ListCustomers(ctx context.Context, req *adminv1.ListCustomersRequest) (*adminv1.ListCustomersResponse, error) {
	own, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	page, err := store.CustomerPage(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	customers, next, err := s.Store.Customers(ctx, own, req.GetSearch(), page)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListCustomersResponse{Customers: customers, NextPageToken: next}, rpc.SetNextPage(ctx, next)
}

// UpdateCustomer changes a customer. Suspended, it loses access at once.
func (s *Server) UpdateCustomer(ctx context.Context, req *adminv1.UpdateCustomerRequest) (*adminv1.UpdateCustomerResponse, error) {
	own, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	id, err := s.customer(ctx, req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	var before, after *adminv1.Customer
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		before, after, err = tx.UpdateCustomer(ctx, id, req)
		if err != nil {
			return err
		}
		if own.Valid && before.GetStatus() != after.GetStatus() {
			return fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "Insufficient permissions: the status is for the platform's staff").
				With("field", "status")
		}
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "customer.update", Customer: some(id), Subject: id.String(),
			Detail: map[string]any{"before": customerFacts(before), "after": customerFacts(after)},
		})
	})
	if err != nil {
		return nil, err
	}
	switch {
	case before.GetStatus() == after.GetStatus():
	case after.GetStatus() == "suspended":
		s.Keys.Suspended(ctx, id)
	default:
		s.Keys.Changed(ctx, id)
	}
	return &adminv1.UpdateCustomerResponse{Customer: after}, nil
}

func customerFacts(c *adminv1.Customer) map[string]any {
	return map[string]any{
		"company_name": c.GetCompanyName(), "email": c.GetEmail(), "aws_role_arn": c.GetAwsRoleArn(), "sqs_queue_url": c.GetSqsQueueUrl(),
		"sqs_queue_shared": c.GetSqsQueueShared(), "status": c.GetStatus(),
	}
}
