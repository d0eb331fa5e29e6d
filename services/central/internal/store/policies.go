package store

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// PolicyScope is what a policy is for: a customer, or one of its clusters, or a namespace in that.
type PolicyScope struct {
	Customer  uuid.UUID
	Cluster   uuid.NullUUID
	Namespace string
}

// PolicyOrder is how policies are listed.
const PolicyOrder = "scope"

// Policies lists what was set, by customer, cluster and namespace.
func (s *Store) Policies(ctx context.Context, customer, cluster uuid.NullUUID, page Page) ([]*adminv1.Policy, string, error) {
	params := centraldb.PolicyListParams{CustomerID: customer, ClusterID: cluster, MaxRows: int32(page.Limit) + 1}
	if page.After != nil {
		owner, of, ok := strings.Cut(page.After.ID, "/")
		first, err1 := uuid.Parse(owner)
		second, err2 := uuid.Parse(of)
		if !ok || errors.Join(err1, err2) != nil {
			return nil, "", badToken()
		}
		params.AfterCustomer, params.AfterCluster, params.AfterNamespace = some(first), second, page.After.Key
	}
	rows, err := s.q.PolicyList(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "policies", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.Policy) Cursor {
		return Cursor{Order: PolicyOrder, Key: row.Namespace, ID: row.CustomerID.String() + "/" + row.ClusterID.UUID.String()}
	})
	if err != nil {
		return nil, "", wrap("listing", "policies", err)
	}
	out, err := policyMessages(rows)
	return out, next, err
}

// PolicyLayers is what was set around clusters and in them, by cluster, from the outermost
// scope in; a cluster for which nothing was set is left out.
func (s *Store) PolicyLayers(ctx context.Context, clusters ...uuid.UUID) (map[uuid.UUID][]*adminv1.Policy, error) {
	rows, err := s.q.PolicyLayers(ctx, s.db, clusters)
	if err != nil {
		return nil, wrap("reading", "policies", err)
	}
	layers := map[uuid.UUID][]*adminv1.Policy{}
	for _, row := range rows {
		msg, err := policyMessage(row.Policy)
		if err != nil {
			return nil, err
		}
		layers[row.ForCluster] = append(layers[row.ForCluster], msg)
	}
	return layers, nil
}

// PolicyOfCustomer is what was set for all clusters of a customer, nothing or one policy.
func (s *Store) PolicyOfCustomer(ctx context.Context, customer uuid.UUID) ([]*adminv1.Policy, error) {
	rows, err := s.q.PolicyOfCustomer(ctx, s.db, customer)
	if err != nil {
		return nil, wrap("reading the policy of customer", customer.String(), err)
	}
	return policyMessages(rows)
}

// SetPolicy replaces what was set for a scope, if etag is empty or that of what is there;
// nil values take it away. It returns what was there before, too. In a transaction.
func (s *Store) SetPolicy(ctx context.Context, scope PolicyScope, values *adminv1.PolicyValues, etag, actor string) (now, before *adminv1.Policy, err error) {
	if err := s.q.PolicyLock(ctx, s.db, "policies:"+scope.Customer.String()); err != nil {
		return nil, nil, wrap("locking policies of customer", scope.Customer.String(), err)
	}
	row, err := s.q.PolicyOf(ctx, s.db, centraldb.PolicyOfParams{CustomerID: scope.Customer, ClusterID: scope.Cluster, Namespace: scope.Namespace})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		before = &adminv1.Policy{CustomerId: scope.Customer.String(), ClusterId: idText(scope.Cluster), Namespace: scope.Namespace}
	case err != nil:
		return nil, nil, wrap("reading a policy of customer", scope.Customer.String(), err)
	default:
		if before, err = policyMessage(row); err != nil {
			return nil, nil, err
		}
	}
	if etag != "" && etag != before.GetEtag() {
		return nil, nil, errChanged("policy of customer", scope.Customer.String(), before.GetEtag())
	}
	if values == nil {
		_, err := s.q.PolicyUnset(ctx, s.db, centraldb.PolicyUnsetParams{CustomerID: scope.Customer, ClusterID: scope.Cluster, Namespace: scope.Namespace})
		return &adminv1.Policy{CustomerId: before.GetCustomerId(), ClusterId: before.GetClusterId(), Namespace: before.GetNamespace()}, before,
			wrap("taking away a policy of customer", scope.Customer.String(), err)
	}
	rules, err := encode(values)
	if err != nil {
		return nil, nil, wrap("encoding a policy of customer", scope.Customer.String(), err)
	}
	row, err = s.q.PolicySet(ctx, s.db, centraldb.PolicySetParams{
		CustomerID: scope.Customer, ClusterID: scope.Cluster, Namespace: scope.Namespace, Rules: rules, UpdatedBy: actor,
	})
	if err != nil {
		return nil, nil, wrap("writing a policy of customer", scope.Customer.String(), err)
	}
	now, err = policyMessage(row)
	return now, before, err
}

func policyMessages(rows []centraldb.Policy) ([]*adminv1.Policy, error) {
	out := make([]*adminv1.Policy, 0, len(rows))
	for _, row := range rows {
		msg, err := policyMessage(row)
		if err != nil {
			return nil, err
		}
		out = append(out, msg)
	}
	return out, nil
}

func policyMessage(row centraldb.Policy) (*adminv1.Policy, error) {
	msg := &adminv1.Policy{
		CustomerId: row.CustomerID.String(), ClusterId: idText(row.ClusterID), Namespace: row.Namespace, Values: &adminv1.PolicyValues{},
		Etag: row.Etag.String(), UpdatedAt: timestamppb.New(row.UpdatedAt), UpdatedBy: row.UpdatedBy,
	}
	return msg, wrap("reading policy", row.PolicyID.String(), decode(row.Rules, msg.Values))
}
