package guard

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Config is what the service needs.
type Config struct {
	Store    *store.Store
	Dispatch *dispatch.Dispatcher
	Log      *slog.Logger
}

// Service keeps policies and stops.
type Service struct{ Config }

// New makes a service.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// Look takes in all that decides whether a cluster may be disrupted now. In a transaction
// that has barred stops, what it says of them holds until that ends.
func Look(ctx context.Context, db *store.Store, cluster uuid.UUID) (*View, error) {
	view, _, err := look(ctx, db, cluster)
	return view, err
}

func look(ctx context.Context, db *store.Store, cluster uuid.UUID) (*View, *store.ClusterUsage, error) {
	usage, err := db.Usage(ctx, cluster)
	if err != nil {
		return nil, nil, err
	}
	policy, err := PolicyOf(ctx, db, cluster)
	if err != nil {
		return nil, nil, err
	}
	stops, err := db.StopsIn(ctx, cluster)
	if err != nil {
		return nil, nil, err
	}
	return &View{
		Now: time.Now(), Policy: policy, Stops: stops[cluster], SeenAt: usage.SeenAt,
		Usage: Usage{Nodes: usage.Nodes, Draining: usage.Draining, Began: usage.Began},
	}, usage, nil
}

// PolicyOf a cluster, as it is now.
func PolicyOf(ctx context.Context, db *store.Store, cluster uuid.UUID) (*Policy, error) {
	policies, err := Policies(ctx, db, cluster)
	return policies[cluster], err
}

// Policies of clusters, as they are now.
func Policies(ctx context.Context, db *store.Store, clusters ...uuid.UUID) (map[uuid.UUID]*Policy, error) {
	layers, err := db.PolicyLayers(ctx, clusters...)
	if err != nil {
		return nil, err
	}
	policies := make(map[uuid.UUID]*Policy, len(clusters))
	for _, cluster := range clusters {
		if policies[cluster], err = Resolve(layers[cluster]); err != nil {
			return nil, fmt.Errorf("reading the policy of cluster %s: %w", cluster, err)
		}
	}
	return policies, nil
}

// Scope is whose something is: a customer's, one cluster's, or a namespace's in it.
type Scope struct {
	Customer  uuid.UUID
	Cluster   uuid.NullUUID
	Namespace string
}

// Effective is what holds in a scope now.
func (s *Service) Effective(ctx context.Context, scope Scope) (*adminv1.EffectivePolicy, error) {
	if !scope.Cluster.Valid {
		return s.ofCustomer(ctx, scope.Customer)
	}
	view, usage, err := look(ctx, s.Store, scope.Cluster.UUID)
	if err != nil {
		return nil, err
	}
	out := s.effective(view, naming{customer: usage.CustomerName, cluster: usage.ClusterName})
	out.NodesAllowed = int32(view.Room().Nodes)
	out.StateAgeSeconds, out.StateIsStale = -1, true
	if !view.SeenAt.IsZero() {
		out.StateAgeSeconds, out.StateIsStale = max(0, view.Now.Sub(view.SeenAt).Seconds()), view.Stale()
	}
	mode, own := view.Policy.ModeIn(scope.Namespace)
	if scope.Namespace != "" && own != nil {
		out.Values.Mode = &mode
		out.Sources["mode"] = &adminv1.PolicySource{Scope: "namespace", Name: own.GetNamespace(), UpdatedBy: own.GetUpdatedBy(), UpdatedAt: own.GetUpdatedAt()}
	}
	return out, nil
}

// ofCustomer is what holds for a cluster without a policy of its own.
func (s *Service) ofCustomer(ctx context.Context, customer uuid.UUID) (*adminv1.EffectivePolicy, error) {
	name, err := s.Store.CustomerName(ctx, customer)
	if err != nil {
		return nil, err
	}
	layers, err := s.Store.PolicyOfCustomer(ctx, customer)
	if err != nil {
		return nil, err
	}
	policy, err := Resolve(layers)
	if err != nil {
		return nil, fmt.Errorf("reading the policy of customer %s: %w", customer, err)
	}
	stops, err := s.Store.StopsOfCustomer(ctx, customer)
	if err != nil {
		return nil, err
	}
	out := s.effective(&View{Now: time.Now(), Policy: policy, Stops: stops}, naming{customer: name})
	out.NodesAllowed, out.StateAgeSeconds = Unbounded, -1
	return out, nil
}

// naming has the names that sources of values are shown with.
type naming struct{ customer, cluster string }

func (s *Service) effective(view *View, names naming) *adminv1.EffectivePolicy {
	because, changes := view.Closed()
	out := &adminv1.EffectivePolicy{
		Values: proto.CloneOf(view.Policy.Values), Sources: map[string]*adminv1.PolicySource{}, Stops: view.Stops,
		DisruptionAllowed: because == "", DeniedBecause: because, ChangesAt: stampOf(changes),
	}
	fields := out.Values.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		source := &adminv1.PolicySource{Scope: "default"}
		switch from := view.Policy.Sources[name]; {
		case from == nil:
		case from.GetClusterId() != "":
			source = &adminv1.PolicySource{Scope: "cluster", Name: names.cluster, UpdatedBy: from.GetUpdatedBy(), UpdatedAt: from.GetUpdatedAt()}
		default:
			source = &adminv1.PolicySource{Scope: "customer", Name: names.customer, UpdatedBy: from.GetUpdatedBy(), UpdatedAt: from.GetUpdatedAt()}
		}
		out.Sources[name] = source
	}
	return out
}

// SetPolicy replaces what was set for a scope; no values take it away.
func (s *Service) SetPolicy(ctx context.Context, scope Scope, policy *adminv1.Policy, actor string) (*adminv1.Policy, error) {
	if err := Check(policy); err != nil {
		return nil, err
	}
	values := policy.GetValues()
	if Empty(values) {
		values = nil
	}
	var now *adminv1.Policy
	err := s.Store.InTx(ctx, func(tx *store.Store) error {
		var before *adminv1.Policy
		var err error
		now, before, err = tx.SetPolicy(ctx, store.PolicyScope(scope), values, policy.GetEtag(), actor)
		if err != nil {
			return err
		}
		if err := tx.Tell(ctx, scope.Customer, &adminv1.StreamResponse{
			Type: "policy", Status: "set", ClusterId: now.GetClusterId(), Subject: scope.text(), Actor: actor, Severity: "info",
			Message: "the policy of " + scope.text() + " was changed",
		}); err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: actor, Action: "policy.set", Customer: some(scope.Customer), Cluster: scope.Cluster, Subject: scope.text(),
			Detail: map[string]any{"namespace": scope.Namespace, "before": plain(before.GetValues()), "after": plain(now.GetValues())},
		})
	})
	if err != nil {
		return nil, err
	}
	return now, nil
}

// text names the scope for people.
func (s Scope) text() string {
	switch {
	case s.Namespace != "":
		return "namespace " + s.Namespace
	case s.Cluster.Valid:
		return "cluster " + s.Cluster.UUID.String()
	default:
		return "customer " + s.Customer.String()
	}
}

// Describe fills in the mode of clusters, and whether a stop holds in them.
func (s *Service) Describe(ctx context.Context, clusters ...*adminv1.Cluster) error {
	ids := make([]uuid.UUID, 0, len(clusters))
	for _, cluster := range clusters {
		id, err := uuid.Parse(cluster.GetClusterId())
		if err != nil {
			return fmt.Errorf("reading the id of cluster %s: %w", cluster.GetClusterName(), err)
		}
		ids = append(ids, id)
	}
	policies, err := Policies(ctx, s.Store, ids...)
	if err != nil {
		return err
	}
	stops, err := s.Store.StopsIn(ctx, ids...)
	if err != nil {
		return err
	}
	for i, cluster := range clusters {
		cluster.Mode, cluster.Stopped = policies[ids[i]].Mode(), len(stops[ids[i]]) > 0
	}
	return nil
}

func some(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: true} }

// NotAllowed refuses what the policy's mode does not allow, and says where that is set.
func NotAllowed(policy *Policy) error {
	return refused(policy, "the policy's mode is "+policy.Mode())
}

// OnlyRecommended refuses to start a plan that was kept to be looked at.
func OnlyRecommended(policy *Policy) error {
	return refused(policy, "the plan was made in mode recommend: nobody may start it")
}

func refused(policy *Policy, why string) error {
	source := "default"
	if from := policy.Sources["mode"]; from.GetClusterId() != "" {
		source = "cluster"
	} else if from != nil {
		source = "customer"
	}
	return fault.New(notAllowed, "%s", why).With("mode", policy.Mode()).With("source", source)
}
