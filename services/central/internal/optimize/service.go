// Package optimize is the story of one optimization: state → decision → launch → ready → label → drain → terminate → verify.
//
// The rows tell how far a story is; a job carries it on. Any replica may die
// between any two lines of a step: the next one repeats the step, and every step
// is written so that repeating it changes nothing.
package optimize

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/savings"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// runnable are the optimizations that a story can carry out: those whose plans
// change nodes.
var runnable = []string{"spot_optimize", "bin_pack"}

// advisory are those that end with the plan, whatever the mode: nothing can carry it out yet.
var advisory = []string{rightsize}

// Config is what the service needs.
type Config struct {
	Store     *store.Store
	Dispatch  *dispatch.Dispatcher
	Book      *savings.Book
	Cloud     *cloud.Cloud
	Decisions mlv1.DecisionServiceClient
	Log       *slog.Logger
}

// Service starts stories and carries them on.
type Service struct {
	Config
	queue *store.Queue
	// plannedTo is the last cluster that was looked at for plans that are due.
	plannedTo uuid.UUID
}

// New makes a service; give it the queue before it is used.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// Register adds the story's worker. The queue that is made with workers must be handed to Use.
func (s *Service) Register(workers *river.Workers) {
	river.AddWorker(workers, &worker{service: s})
	river.AddWorker(workers, &sweeper{service: s})
}

// Use sets the queue that jobs are written to.
func (s *Service) Use(queue *store.Queue) { s.queue = queue }

// Trigger starts an optimization of a cluster that the customer owns (or any,
// when customer is null).
func (s *Service) Trigger(ctx context.Context, customer uuid.NullUUID, actor string, req *adminv1.TriggerOptimizationRequest) (*adminv1.Optimization, error) {
	if !slices.Contains(slices.Concat(runnable, advisory), req.GetOptimizationType()) {
		return nil, fault.Unimplemented("optimization_type " + req.GetOptimizationType())
	}
	cluster, err := uuid.Parse(req.GetClusterId())
	if err != nil {
		return nil, fault.Invalid("cluster_id", "must be valid UUID")
	}
	if err := checkOptions(req.GetOptimizationType(), req.GetOptions()); err != nil {
		return nil, err
	}
	return s.start(ctx, beginning{customer: customer, cluster: cluster, actor: actor, req: req, take: everyTime})
}

// beginning is what a story begins with.
type beginning struct {
	customer uuid.NullUUID
	cluster  uuid.UUID
	actor    string
	req      *adminv1.TriggerOptimizationRequest
	// take says, in the transaction that writes the story, whether to begin at all.
	take func(ctx context.Context, tx *store.Store) (bool, error)
}

func everyTime(context.Context, *store.Store) (bool, error) { return true, nil }

// start writes a story and its job; nil: it was not to begin. In a cluster that may only
// be looked at, it is a dry run.
func (s *Service) start(ctx context.Context, b beginning) (*adminv1.Optimization, error) {
	policy, err := guard.PolicyOf(ctx, s.Store, b.cluster)
	if err != nil {
		return nil, err
	}
	dry := b.req.GetDryRun() || policy.Mode() == guard.ReadOnly || slices.Contains(advisory, b.req.GetOptimizationType())
	owner, err := s.ready(ctx, b, policy, dry)
	if err != nil {
		return nil, err
	}
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	var started *adminv1.Optimization
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		started = nil
		if take, err := b.take(ctx, tx); err != nil || !take {
			return err
		}
		started, err = tx.AddOptimization(ctx, store.NewOptimization{
			Request: b.req, Cluster: b.cluster, Actor: b.actor, Traceparent: carrier.Get("traceparent"), Mode: policy.Mode(), DryRun: dry,
			Steps: stepNames(),
		})
		if err != nil {
			return err
		}
		id := uuid.MustParse(started.GetOptimizationId()) // made by the database
		if err := s.queue.Enqueue(ctx, tx, storyJob{OptimizationID: id, Generation: 1}); err != nil {
			return err
		}
		if err := b.told(ctx, tx, owner, started); err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: b.actor, Action: "optimization.trigger", Subject: started.GetOptimizationId(), Customer: some(owner), Cluster: some(b.cluster),
			Detail: map[string]any{
				"optimization_type": b.req.GetOptimizationType(), "options": asMap(b.req.GetOptions()), "mode": policy.Mode(), "dry_run": dry,
				"reason": b.req.GetReason(),
			},
		})
	})
	return started, err
}

// told is written with the beginning; estimates are asked for, not told.
func (b beginning) told(ctx context.Context, tx *store.Store, owner uuid.UUID, started *adminv1.Optimization) error {
	if b.actor == byEstimate {
		return nil
	}
	return tx.Tell(ctx, owner, &adminv1.StreamResponse{
		Type: "optimization_started", Status: "pending", ClusterId: b.cluster.String(), OptimizationId: started.GetOptimizationId(),
		Actor: b.actor, Severity: "info",
	})
}

// ready refuses what could not be acted on, and returns the cluster's customer.
func (s *Service) ready(ctx context.Context, b beginning, policy *guard.Policy, dry bool) (uuid.UUID, error) {
	state, err := s.Store.ClusterState(ctx, b.cluster, b.customer)
	if err != nil {
		return uuid.Nil, err
	}
	account, err := s.Store.Account(ctx, b.cluster)
	if err != nil {
		return uuid.Nil, err
	}
	// bin_pack can also do with fewer of the nodes there are, and a dry run launches none.
	if !mayLaunch(account) && b.req.GetOptimizationType() != "bin_pack" && !dry {
		return uuid.Nil, fault.Infeasible("launch", "the cluster has no launch settings: CloudOptim cannot launch nodes for it")
	}
	return account.CustomerID, fresh(state, policy.StaleAfter())
}

// mayLaunch says whether CloudOptim was told how to launch nodes for the cluster.
func mayLaunch(a *store.Account) bool { return a.LaunchTemplateID != "" && len(a.SubnetIDs) > 0 }

// fresh refuses a state that is older than the bound.
func fresh(state *fleetv1.ClusterState, bound time.Duration) error {
	if state.GetLastUpdated() == nil || len(state.GetNodes()) == 0 {
		return fault.New(faultv1.Reason_REASON_AGENT_OFFLINE, "the agent of this cluster has not reported yet")
	}
	if age := time.Since(state.GetLastUpdated().AsTime()); age > bound {
		return fault.New(faultv1.Reason_REASON_STALE_STATE, "the state of this cluster is %.0f s old, the bound for acting is %.0f s",
			age.Seconds(), bound.Seconds()).With("age_seconds", age.Seconds())
	}
	return nil
}

// checkOptions refuses at the door what ml would refuse later.
func checkOptions(optimization string, options *adminv1.OptimizationOptions) error {
	requirements, constraints := terms(optimization)
	if err := strict("options.requirements", options.GetRequirements(), requirements); err != nil {
		return err
	}
	return strict("options.constraints", options.GetConstraints(), constraints)
}

// strict reads a Struct as the message that names its fields.
func strict(field string, in *structpb.Struct, out proto.Message) error {
	if in == nil {
		return nil
	}
	raw, err := protojson.Marshal(in)
	if err != nil {
		return fault.Invalid(field, "must be an object").Because(err)
	}
	if err := protojson.Unmarshal(raw, out); err != nil {
		return fault.Invalid(field, "must have only the documented fields, each of its type").Because(err)
	}
	if err := rpc.Validate(out); err != nil {
		known := fault.From(err)
		return fault.Invalid(field+"."+text(known.Details["field"]), text(known.Details["constraint"])).Because(err)
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// asStruct is a parameter message as tasks carry it.
func asStruct(msg proto.Message) (*structpb.Struct, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(msg)
	if err != nil {
		return nil, err
	}
	out := &structpb.Struct{}
	return out, protojson.Unmarshal(raw, out)
}

func asMap(msg proto.Message) map[string]any {
	out := map[string]any{}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(msg)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		return map[string]any{"unreadable": err.Error()}
	}
	return out
}
