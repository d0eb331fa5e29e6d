// Package admin is the services of the admin product: what the dashboard and operators ask, one file a subject.
package admin

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/activity"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/optimize"
	"github.com/cloudoptim/cloudoptim/services/central/internal/savings"
	"github.com/cloudoptim/cloudoptim/services/central/internal/schedule"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Book knows what clusters cost and save.
type Book interface {
	AddCosts(ctx context.Context, customer uuid.NullUUID, clusters []*adminv1.Cluster) error
	ClusterState(ctx context.Context, cluster uuid.UUID, customer uuid.NullUUID) (*fleetv1.ClusterState, error)
	Savings(ctx context.Context, cluster, customer uuid.NullUUID) (*adminv1.GetSavingsResponse, error)
	History(ctx context.Context, cluster, customer uuid.NullUUID, when savings.Range) (*adminv1.GetSavingsHistoryResponse, error)
	Decisions(ctx context.Context, cluster, customer uuid.NullUUID, page store.Page) (*adminv1.ListDecisionSavingsResponse, error)
}

// Revoker makes what becomes of keys, members and customers act on every replica at once.
type Revoker interface {
	Revoked(ctx context.Context, id uuid.UUID)
	Suspended(ctx context.Context, customer uuid.UUID)
	Changed(ctx context.Context, id uuid.UUID)
}

// Announcer makes a cluster's stream look for what its agent is to hear.
type Announcer interface {
	Announce(ctx context.Context, cluster uuid.UUID)
}

// Config is what the server needs.
type Config struct {
	Store     *store.Store
	Book      Book
	Optimizer *optimize.Service
	Guard     *guard.Service
	Schedules *schedule.Service
	Keys      Revoker
	// Door opens and closes people's sessions.
	Door *auth.Door
	OIDC OIDC
	Bus  *bus.Bus
	// Feed has the news that is kept, as it happens; Replays what was told before.
	Feed    *activity.Feed
	Replays Replayer
	// MaxStreamAge is how old a dashboard's stream may become; 0: any age.
	MaxStreamAge time.Duration
	// Agents are told of tasks to stop.
	Agents Announcer
	// Install says where clusters connect.
	Install Install
	// ML is the line to ml.
	ML grpc.ClientConnInterface
	// MLTimeout bounds one decision; 0: 30 seconds.
	MLTimeout time.Duration
	// MaxModelBytes bounds one uploaded model; 0: 32 MiB.
	MaxModelBytes int
	Log           *slog.Logger
}

// Server answers people and their programs.
type Server struct {
	adminv1.UnimplementedAdminServiceServer
	adminv1.UnimplementedGuardServiceServer
	adminv1.UnimplementedSavingsServiceServer
	adminv1.UnimplementedAuditServiceServer
	adminv1.UnimplementedAccountServiceServer
	adminv1.UnimplementedInventoryServiceServer
	adminv1.UnimplementedScheduleServiceServer
	Config
	// uploads has room for the uploads that may be held in memory at once.
	uploads chan struct{}
	// replays has room for those that may run at once.
	replays chan struct{}
	screens *screens
}

// New makes a server.
func New(cfg Config) *Server {
	if cfg.MLTimeout <= 0 {
		cfg.MLTimeout = 30 * time.Second
	}
	if cfg.MaxModelBytes <= 0 {
		cfg.MaxModelBytes = 32 << 20
	}
	return &Server{Config: cfg, uploads: make(chan struct{}, maxUploads), replays: make(chan struct{}, replays), screens: newScreens()}
}

// Register adds every service of the admin product to a gRPC server.
func (s *Server) Register(server grpc.ServiceRegistrar) {
	adminv1.RegisterAdminServiceServer(server, s)
	adminv1.RegisterGuardServiceServer(server, s)
	adminv1.RegisterSavingsServiceServer(server, s)
	adminv1.RegisterAuditServiceServer(server, s)
	adminv1.RegisterAccountServiceServer(server, s)
	adminv1.RegisterInventoryServiceServer(server, s)
	adminv1.RegisterScheduleServiceServer(server, s)
}

// cluster reads the id of a cluster that the caller may see; an empty one is
// null. One of another customer is not found.
func (s *Server) cluster(ctx context.Context, id string) (uuid.NullUUID, error) {
	if id == "" {
		return uuid.NullUUID{}, nil
	}
	cluster, err := parse("cluster_id", id)
	if err != nil {
		return uuid.NullUUID{}, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return uuid.NullUUID{}, err
	}
	owner, err := s.Store.CustomerOf(ctx, cluster)
	if err != nil {
		return uuid.NullUUID{}, err
	}
	if customer.Valid && customer.UUID != owner {
		return uuid.NullUUID{}, fault.NotFound("cluster", id)
	}
	return uuid.NullUUID{UUID: cluster, Valid: true}, nil
}

// customer reads whose something shall be: the caller's own unless it says
// otherwise, which only the platform's staff may.
func (s *Server) customer(ctx context.Context, id string) (uuid.UUID, error) {
	own, err := auth.Customer(ctx)
	if err != nil {
		return uuid.UUID{}, err
	}
	if id == "" {
		if !own.Valid {
			return uuid.UUID{}, fault.Invalid("customer_id", "must be given: the caller has no customer")
		}
		return own.UUID, nil
	}
	customer, err := parse("customer_id", id)
	if err == nil && own.Valid && own.UUID != customer {
		err = fault.NotFound("customer", id)
	}
	return customer, err
}

func parse(field, id string) (uuid.UUID, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return uuid.UUID{}, fault.Invalid(field, "must be valid UUID")
	}
	return parsed, nil
}

func some(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: true} }
