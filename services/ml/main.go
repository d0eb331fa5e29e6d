// Command ml is CloudOptim's decision server: asked what a cluster should run
// on, it answers, and changes nothing itself.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/pkg/run"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/backtest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/command"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/replay"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// commands beside serving, by the first argument.
var commands = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"train":    command.Train,
	"evaluate": command.Evaluate,
	"replay":   replay.Command,
	"backtest": backtest.Command,
}

func main() {
	run.Main(func(ctx context.Context) error {
		if len(os.Args) > 1 && commands[os.Args[1]] != nil {
			return commands[os.Args[1]](ctx, os.Args[2:], os.Stdout)
		}
		return ml(ctx)
	})
}

// role is what ml connects to the database as: it may read, no more.
const role = "ml_server_ro"

func ml(ctx context.Context) error {
	var s settings
	opts := config.Options{
		Name: "ml", Args: os.Args[1:],
		OtherSections: []string{"ml", "agent", "central", "interruption", "oidc"},
	}
	if err := config.Load(&s, opts); err != nil {
		return err
	}
	told, err := observe.Start(ctx, observe.Config{Service: "ml", Logging: s.Logging})
	if err != nil {
		return err
	}
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = told.Shutdown(grace) // nobody is left to tell
	}()
	prices, err := market.New()
	if err != nil {
		return err
	}
	account := &market.Account{Endpoint: s.AWS.EndpointURL, Log: told.Log}
	database, closeDatabase, err := openDatabase(ctx, &s, told.Log)
	if err != nil {
		return err
	}
	defer closeDatabase()
	server, err := newServer(&s, told, prices, account, database)
	if err != nil {
		return err
	}
	grpcListener, err := net.Listen("tcp", s.Server.GRPCAddress)
	if err != nil {
		return fmt.Errorf("listening for gRPC: %w", err)
	}
	httpListener, err := net.Listen("tcp", s.Server.HTTPAddress)
	if err != nil {
		return fmt.Errorf("listening for HTTP: %w", err)
	}
	told.Log.InfoContext(ctx, "ml is ready", "grpc", grpcListener.Addr().String(), "http", httpListener.Addr().String())
	return run.All(ctx,
		run.Named("grpc", func(ctx context.Context) error { return server.rpc.Serve(ctx, grpcListener) }),
		run.Named("http", func(ctx context.Context) error { return rpc.ServeHTTP(ctx, httpListener, server.http) }),
		run.Named("market", refresher(&s, told.Log, prices, account)),
		run.Named("models", server.models.Run),
	)
}

// openDatabase only if one is configured: decisions need none.
func openDatabase(ctx context.Context, s *settings, log *slog.Logger) (*store.Store, func(), error) {
	var db *store.Store
	var err error
	switch {
	case s.Server.DatabaseFile != "":
		db, err = store.OpenFile(ctx, s.Server.DatabaseFile, s.Database.MaxConns(), s.Database.EchoTo(log))
	case s.Database.Host != "":
		db, err = store.Open(ctx, s.Database.DSN(role), s.Database.MaxConns(), s.Database.EchoTo(log))
	default:
		return nil, func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return db, db.Close, nil
}
