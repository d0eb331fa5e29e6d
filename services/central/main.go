// Command central is CloudOptim's control plane: it knows the clusters, asks ml
// what to do, launches and terminates instances, and gives the agents their tasks.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/run"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

func main() { run.Main(command) }

// command runs what the first argument asks for; without one, the server.
func command(ctx context.Context) error {
	args := os.Args[1:]
	if len(args) > 0 {
		switch args[0] {
		case "migrate":
			return migrate(ctx, args[1:])
		case "audit":
			return auditCommand(ctx, args[1:], os.Stdout)
		case "new-key":
			secret, _, _ := auth.NewSecret("platform")
			_, err := fmt.Fprintln(os.Stdout, secret)
			return err
		}
	}
	return serve(ctx, args)
}

func read(name string, args []string) (*settings, error) {
	cfg := &settings{}
	return cfg, config.Load(cfg, config.Options{Name: name, Args: args, OtherSections: []string{"agent", "server", "market", "auth"}})
}

// garbagePercent is how much garbage may lie beside what is alive. Most of central's
// memory are idle streams; with Go's own 100 each would cost a tenth more of it.
const garbagePercent = 50

// serve runs central until ctx ends.
func serve(ctx context.Context, args []string) error {
	cfg, err := read("central", args)
	if err != nil {
		return err
	}
	telemetry, err := observe.Start(ctx, observe.Config{Service: "central", Logging: cfg.Logging})
	if err != nil {
		return err
	}
	defer func() { _ = telemetry.Shutdown(context.WithoutCancel(ctx)) }()
	database, err := openDatabase(ctx, cfg, telemetry.Log)
	if err != nil {
		return err
	}
	defer database.close()
	server, err := assemble(ctx, cfg, database, telemetry)
	if err != nil {
		return err
	}
	defer server.close()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	return run.All(ctx, server.parts...)
}

// migrate brings the database up to date and ends.
func migrate(ctx context.Context, args []string) error {
	cfg, err := read("central migrate", args)
	if err != nil {
		return err
	}
	telemetry, err := observe.Start(ctx, observe.Config{Service: "central", Logging: cfg.Logging})
	if err != nil {
		return err
	}
	defer func() { _ = telemetry.Shutdown(context.WithoutCancel(ctx)) }()
	server, dsn, err := reachDatabase(ctx, cfg, telemetry.Log)
	if err != nil {
		return err
	}
	if server != nil {
		defer func() { _ = server.Stop() }()
	}
	return db.Migrate(ctx, dsn)
}
