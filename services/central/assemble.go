package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/riverqueue/river"
	"google.golang.org/grpc"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/pkg/run"

	"github.com/cloudoptim/cloudoptim/services/central/internal/activity"
	"github.com/cloudoptim/cloudoptim/services/central/internal/admin"
	"github.com/cloudoptim/cloudoptim/services/central/internal/agents"
	"github.com/cloudoptim/cloudoptim/services/central/internal/audit"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/dispatch"
	"github.com/cloudoptim/cloudoptim/services/central/internal/gateway"
	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
	"github.com/cloudoptim/cloudoptim/services/central/internal/optimize"
	"github.com/cloudoptim/cloudoptim/services/central/internal/risk"
	"github.com/cloudoptim/cloudoptim/services/central/internal/savings"
	"github.com/cloudoptim/cloudoptim/services/central/internal/schedule"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
	"github.com/cloudoptim/cloudoptim/services/central/internal/usage"
	"github.com/cloudoptim/cloudoptim/services/central/web"
)

// partWithin is how long dashboards may take to hear that this replica stops.
const partWithin = 5 * time.Second

// central is the assembled server: parts to run, and connections to close.
type central struct {
	parts   []run.Part
	closers []func()
	// GRPC and HTTP are where it listens.
	GRPC, HTTP net.Addr
}

func (c *central) close() {
	for i := len(c.closers) - 1; i >= 0; i-- {
		c.closers[i]()
	}
}

// add adds a part, whose own work is for every customer; what a caller has done by the doors is not.
func (c *central) add(name string, part run.Part) {
	c.parts = append(c.parts, run.Named(name, func(ctx context.Context) error { return part(store.ForEveryone(ctx)) }))
}

// assemble builds the parts from the outside in: what is talked to, the stories, the doors.
func assemble(ctx context.Context, cfg *settings, data *database, telemetry *observe.Telemetry) (_ *central, err error) {
	c := &central{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	log := telemetry.Log
	ctx = store.ForEveryone(ctx)
	ml, err := rpc.Dial(cfg.ML.Address, rpc.DialConfig{APIKey: cfg.ML.APIKey, TLS: cfg.ML.TLS, CAFile: cfg.ML.CAFile})
	if err != nil {
		return nil, err
	}
	c.closers = append(c.closers, func() { _ = ml.Close() })
	aws, err := cloud.New(ctx, cfg.AWS.Region, cfg.AWS.EndpointURL)
	if err != nil {
		return nil, err
	}
	wakes := newBus(cfg, log)
	feed := activity.NewFeed(data.store, wakes, log)
	feed.Serve(data.store)
	if err := ensurePlatformKey(ctx, cfg, data.store); err != nil {
		return nil, err
	}
	tasks := dispatch.New(data.store, wakes, log)
	book := savings.New(data.store, mlv1.NewMarketServiceClient(ml), log)
	optimizer := optimize.New(optimize.Config{
		Store: data.store, Dispatch: tasks, Book: book, Cloud: aws, Decisions: mlv1.NewDecisionServiceClient(ml), Log: log,
	})
	interruptions := interruption.New(interruption.Config{
		Store: data.store, Dispatch: tasks, Cloud: aws, Decisions: mlv1.NewDecisionServiceClient(ml),
		Policy: cfg.interruptionPolicy(), Log: log,
	})
	safety := guard.New(guard.Config{Store: data.store, Dispatch: tasks, Log: log})
	schedules := schedule.New(schedule.Config{
		Store: data.store, Dispatch: tasks, Decisions: mlv1.NewDecisionServiceClient(ml), Log: log,
	})
	queue, err := newQueue(data.store, log, optimizer, interruptions)
	if err != nil {
		return nil, err
	}
	ears, err := listen.New(ctx, listen.Config{
		Queues: interruptions, Intake: interruptions, Region: cfg.AWS.Region, Endpoint: cfg.AWS.EndpointURL, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if data.embedded != nil {
		c.add("postgresql", data.embedded.Watch)
	}
	d := doors{
		store: data.store, bus: wakes, feed: feed, book: book, optimizer: optimizer, guard: safety, interruptions: interruptions,
		schedules: schedules, ml: ml, tasks: tasks,
	}
	c.tell(d)
	c.add("queue", queue.Run)
	c.add("queues", ears.Run)
	c.keepBooks(data.store, log)
	c.add("risk", risk.New(data.store, mlv1.NewPredictionServiceClient(ml), log).Run)
	c.add("housekeeping", housekeeper{store: data.store, log: log, keep: time.Duration(cfg.Central.MetricsKeepDays) * 24 * time.Hour}.Run)
	return c, c.open(ctx, cfg, telemetry, d)
}

// tell carries the stories on, and what they are told over.
func (c *central) tell(d doors) {
	c.add("bus", d.bus.Run)
	c.add("activity", d.feed.Run)
	c.add("tasks", d.tasks.Run)
	c.add("prices", d.book.Run)
	c.add("optimizations", d.optimizer.Run)
	c.add("interruptions", d.interruptions.Run)
	c.add("schedules", d.schedules.Run)
}

// keepBooks meters the money, counts usage and seals the audit log.
func (c *central) keepBooks(s *store.Store, log *slog.Logger) {
	c.add("savings", savings.Ledger{Store: s, Log: log}.Run)
	c.add("audit", audit.Sealer{Store: s, Log: log}.Run)
	c.add("usage", usage.Counter{Store: s, Log: log}.Run)
}

// doors are what the front doors lead to.
type doors struct {
	store         *store.Store
	bus           *bus.Bus
	feed          *activity.Feed
	book          *savings.Book
	optimizer     *optimize.Service
	guard         *guard.Service
	interruptions *interruption.Service
	schedules     *schedule.Service
	ml            *grpc.ClientConn
	tasks         *dispatch.Dispatcher
}

// open opens the gRPC and the REST door.
func (c *central) open(ctx context.Context, cfg *settings, telemetry *observe.Telemetry, d doors) error {
	replica, err := cfg.replica()
	if err != nil {
		return err
	}
	keys := auth.NewKeys(d.store, d.bus, telemetry.Log)
	keys.EndIdle(time.Duration(cfg.Central.SessionIdleHours) * time.Hour)
	c.add("keys", keys.Run)
	limiter := auth.NewLimiter(d.bus.Limiter(), cfg.API.RateLimitPerMinute)
	server := rpc.NewServer(rpc.ServerConfig{
		Log: telemetry.Log, Authorizer: keys, Limiter: limiter, MaxConnectionAge: cfg.maxConnectionAge(),
	})
	lines := agents.New(agents.Config{
		Store: d.store, Bus: d.bus, Log: telemetry.Log, Replica: replica, Settings: agents.DefaultSettings(),
		Interruptions: d.interruptions,
	})
	server.BeforeStop(lines.Leave)
	agentv1.RegisterAgentServiceServer(server, lines)
	door := &auth.Door{
		Store: d.store, Keys: keys, Bucket: d.bus.Limiter(), Longest: time.Duration(cfg.Central.SessionHours) * time.Hour, Log: telemetry.Log,
	}
	desk := admin.New(admin.Config{
		Store: d.store, Book: d.book, Optimizer: d.optimizer, Guard: d.guard, Schedules: d.schedules, Bus: d.bus, Feed: d.feed, Replays: d.store,
		Keys: keys, Door: door, OIDC: cfg.signInOptions(), ML: d.ml, Agents: d.tasks, Install: cfg.install(), MLTimeout: cfg.API.RequestTimeout(),
		MaxModelBytes: cfg.maxModelBytes(), Log: telemetry.Log,
		// Before their connection ends, which says nothing.
		MaxStreamAge: cfg.maxConnectionAge() * 9 / 10,
	})
	server.BeforeStop(desk.Leave)
	desk.Register(server)
	return c.listen(ctx, cfg, telemetry.Log, server, gateway.Config{
		Authorizer: keys, Log: telemetry.Log, Metrics: telemetry.Metrics, Ready: d.store.Ping, Timeout: cfg.API.RequestTimeout(),
		MaxUploadBytes: cfg.maxModelBytes(), TrustedProxies: cfg.Central.TrustedProxies, CORSOrigins: cfg.API.CORSOrigins,
		Door: door, OIDC: cfg.provider(d.store), Limiter: limiter, Pages: web.Files(),
	})
}

func (c *central) listen(ctx context.Context, cfg *settings, log *slog.Logger, server *rpc.Server, rest gateway.Config) error {
	self, err := rpc.InProcess(server)
	if err != nil {
		return err
	}
	c.closers = append(c.closers, func() { _ = self.Close() })
	rest.Conn = self
	front, err := gateway.New(ctx, rest)
	if err != nil {
		return err
	}
	grpcListener, err := net.Listen("tcp", cfg.Central.GRPCAddress)
	if err != nil {
		return fmt.Errorf("opening the gRPC door: %w", err)
	}
	httpListener, err := net.Listen("tcp", cfg.Central.HTTPAddress)
	if err != nil {
		_ = grpcListener.Close()
		return fmt.Errorf("opening the REST door: %w", err)
	}
	c.GRPC, c.HTTP = grpcListener.Addr(), httpListener.Addr()
	log.Info("central is ready", "grpc", c.GRPC.String(), "http", "http://"+c.HTTP.String())
	c.add("grpc", func(ctx context.Context) error { return server.Serve(ctx, grpcListener) })
	c.add("http", func(ctx context.Context) error {
		err := rpc.ServeHTTP(ctx, httpListener, front)
		parting, cancel := context.WithTimeout(context.WithoutCancel(ctx), partWithin)
		defer cancel()
		front.Wait(parting)
		return err
	})
	return nil
}

func newBus(cfg *settings, log *slog.Logger) *bus.Bus {
	if cfg.Redis.Host == "" {
		return bus.New()
	}
	return bus.NewRedis(bus.RedisConfig{Host: cfg.Redis.Host, Port: cfg.Redis.Port, DB: cfg.Redis.DB, Password: cfg.Redis.Password, TTL: cfg.Redis.TTL()}, log)
}

// worker is a room with background jobs.
type worker interface {
	Register(workers *river.Workers)
	Use(queue *store.Queue)
}

func newQueue(s *store.Store, log *slog.Logger, rooms ...worker) (*store.Queue, error) {
	workers := river.NewWorkers()
	for _, room := range rooms {
		room.Register(workers)
	}
	queue, err := store.NewQueue(s, log, workers, nil)
	if err != nil {
		return nil, fmt.Errorf("making the job queue: %w", err)
	}
	for _, room := range rooms {
		room.Use(queue)
	}
	return queue, nil
}

func ensurePlatformKey(ctx context.Context, cfg *settings, s *store.Store) error {
	secret := cfg.Central.PlatformKey
	if secret == "" {
		return nil
	}
	return s.EnsureKey(ctx, store.NewKey{Hash: auth.Hash(secret), Prefix: secret[:16], Scope: "platform"})
}
