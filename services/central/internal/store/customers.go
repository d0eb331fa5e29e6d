package store

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

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
		_, err = tx.CreateKey(ctx, some(id), uuid.NullUUID{}, key)
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

// customerOrder is the order of the list of customers, as its page tokens say it.
const customerOrder = "company_name"

// CustomerPage reads size and token of a request for the list of customers.
func CustomerPage(size int32, token string) (Page, error) { return NewPage(size, token, customerOrder) }

// Customers lists a page of customers by name, or the one, and says where the next begins.
func (s *Store) Customers(ctx context.Context, customer uuid.NullUUID, search string, page Page) ([]*adminv1.Customer, string, error) {
	params := centraldb.CustomerListParams{CustomerID: customer, Search: search, Rows: int32(page.Limit) + 1}
	var err error
	if params.AfterName, params.AfterID, err = page.namePlace(); err != nil {
		return nil, "", err
	}
	rows, err := s.q.CustomerList(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "customers", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.CustomerListRow) Cursor {
		return Cursor{Order: customerOrder, Key: row.CompanyName, ID: row.CustomerID.String()}
	})
	customers := make([]*adminv1.Customer, 0, len(rows))
	for _, row := range rows {
		customers = append(customers, customerMessage(centraldb.CustomerByIDRow(row)))
	}
	return customers, next, err
}

// CustomerName is a customer's name for people.
func (s *Store) CustomerName(ctx context.Context, customer uuid.UUID) (string, error) {
	name, err := s.q.CustomerName(ctx, s.db, customer)
	return name, wrap("customer", customer.String(), err)
}

// UpdateCustomer changes a customer, unless it is of another version than the request's etag by
// now. It returns it as it was and as it is. It must be called in a transaction.
func (s *Store) UpdateCustomer(ctx context.Context, id uuid.UUID, req *adminv1.UpdateCustomerRequest) (before, after *adminv1.Customer, err error) {
	row, err := s.q.CustomerByID(ctx, s.db, id)
	switch {
	case err != nil:
		return nil, nil, wrap("customer", id.String(), err)
	case req.GetEtag() != "" && req.GetEtag() != etagOf(row.Version):
		return nil, nil, errChanged("customer", id.String(), etagOf(row.Version))
	}
	status := req.GetStatus()
	if status == "" {
		status = row.Status
	}
	err = s.q.CustomerUpdate(ctx, s.db, centraldb.CustomerUpdateParams{
		CustomerID: id, CompanyName: req.GetCompanyName(), Email: req.GetEmail(), AwsRoleArn: text(req.GetAwsRoleArn()),
		SqsQueueUrl: text(req.GetSqsQueueUrl()), SqsQueueShared: req.GetSqsQueueShared(), Status: status,
	})
	if err != nil {
		return nil, nil, wrap("customer", req.GetEmail(), err)
	}
	now, err := s.q.CustomerByID(ctx, s.db, id)
	return customerMessage(row), customerMessage(now), wrap("customer", id.String(), err)
}

func customerMessage(row centraldb.CustomerByIDRow) *adminv1.Customer {
	return &adminv1.Customer{
		CustomerId: row.CustomerID.String(), CompanyName: row.CompanyName, Email: row.Email, AwsRoleArn: value(row.AwsRoleArn),
		SqsQueueUrl: value(row.SqsQueueUrl), SqsQueueShared: row.SqsQueueShared, ExternalId: value(row.ExternalID), Status: row.Status,
		CreatedAt: timestamppb.New(row.CreatedAt), Clusters: row.Clusters, Etag: etagOf(row.Version),
	}
}
