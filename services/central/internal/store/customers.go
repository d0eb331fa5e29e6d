package store

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// Account is what central needs to act in a customer's AWS account for a cluster.
type Account struct {
	CustomerID       uuid.UUID
	ClusterName      string
	Region           string
	RoleARN          string
	ExternalID       string
	LaunchTemplateID string
	// SubnetIDs by zone.
	SubnetIDs map[string]string
}

// CreateCustomer stores a customer with its first admin key.
func (s *Store) CreateCustomer(ctx context.Context, req *adminv1.CreateCustomerRequest, externalID string, key NewKey) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.InTx(ctx, func(tx *Store) (err error) {
		id, err = tx.q.CustomerCreate(ctx, tx.db, centraldb.CustomerCreateParams{
			CompanyName: req.GetCompanyName(), Email: req.GetEmail(), AwsRoleArn: text(req.GetAwsRoleArn()),
			SqsQueueUrl: text(req.GetSqsQueueUrl()), SqsQueueShared: req.GetSqsQueueShared(), ExternalID: text(externalID),
		})
		if err != nil {
			return wrap("customer", req.GetEmail(), err)
		}
		_, err = tx.CreateKey(ctx, uuid.NullUUID{UUID: id, Valid: true}, uuid.NullUUID{}, key)
		return err
	})
	return id, err
}

// Account returns the AWS account of a cluster.
func (s *Store) Account(ctx context.Context, cluster uuid.UUID) (*Account, error) {
	row, err := s.q.CustomerByCluster(ctx, s.db, cluster)
	if err != nil {
		return nil, wrap("cluster", cluster.String(), err)
	}
	account := &Account{
		CustomerID: row.CustomerID, ClusterName: row.ClusterName, Region: row.Region, RoleARN: value(row.AwsRoleArn),
		ExternalID: value(row.ExternalID), LaunchTemplateID: value(row.LaunchTemplateID),
	}
	if err := json.Unmarshal(row.SubnetIds, &account.SubnetIDs); err != nil {
		return nil, wrap("reading subnets of cluster", cluster.String(), err)
	}
	return account, nil
}

// EventQueue is a customer's queue with the EC2 events of its account.
type EventQueue struct {
	CustomerID uuid.UUID
	URL        string
	// Shared: others read it too.
	Shared              bool
	RoleARN, ExternalID string
	// Region of the customer's first cluster.
	Region string
}

// EventQueues are the queues to listen to, by address.
func (s *Store) EventQueues(ctx context.Context) ([]EventQueue, error) {
	rows, err := s.q.CustomerQueues(ctx, s.db)
	out := make([]EventQueue, 0, len(rows))
	for _, row := range rows {
		out = append(out, EventQueue{
			CustomerID: row.CustomerID, URL: row.SqsQueueUrl, Shared: row.SqsQueueShared, RoleARN: row.AwsRoleArn,
			ExternalID: row.ExternalID, Region: row.Region,
		})
	}
	return out, wrap("listing", "queues", err)
}

// CustomerName of a customer.
func (s *Store) CustomerName(ctx context.Context, customer uuid.UUID) (string, error) {
	name, err := s.q.CustomerName(ctx, s.db, customer)
	return name, wrap("customer", customer.String(), err)
}
