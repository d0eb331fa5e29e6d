package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"

	"github.com/cloudoptim/cloudoptim/services/central/internal/audit"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// auditCommand is central audit verify [--known-head HEX] [settings].
func auditCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "verify" {
		return errors.New("central audit knows one thing: central audit verify [--known-head HEX]")
	}
	known, args, err := takeFlag(args[1:], "--known-head")
	if err != nil {
		return err
	}
	cfg, err := read("central audit verify", args)
	if err != nil {
		return err
	}
	// What is printed is the finding alone: the log of what this does is only of interest when it fails.
	cfg.Logging.Level = "error"
	telemetry, err := observe.Start(ctx, observe.Config{Service: "central", Logging: cfg.Logging})
	if err != nil {
		return err
	}
	defer func() { _ = telemetry.Shutdown(context.WithoutCancel(ctx)) }()
	server, dsn, err := visitDatabase(ctx, cfg, telemetry)
	if err != nil {
		return err
	}
	if server != nil {
		defer func() { _ = server.Stop() }()
	}
	return verifyAudit(ctx, dsn, known, out)
}

// visitDatabase reaches the database without changing it. An embedded one that a running
// central holds is used as it runs; another one is started.
func visitDatabase(ctx context.Context, cfg *settings, telemetry *observe.Telemetry) (*pgembed.Server, string, error) {
	if cfg.Database.Host != "" {
		return reachDatabase(ctx, cfg, telemetry.Log)
	}
	dir, err := cfg.dataDir()
	if err != nil {
		return nil, "", err
	}
	dsn, err := pgembed.Running(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("there is no database in %s, and no other one is configured", dir)
	}
	if err != nil || dsn != "" {
		return nil, dsn, err
	}
	server, dsn, err := reachDatabase(ctx, cfg, telemetry.Log)
	if err == nil {
		return server, dsn, nil
	}
	if dsn, again := pgembed.Running(ctx, dir); again == nil && dsn != "" { // a central started at the same moment
		return nil, dsn, nil
	}
	return nil, "", err
}

// verifyAudit prints what became of the log; an error if it was tampered with.
func verifyAudit(ctx context.Context, dsn, knownHead string, out io.Writer) error {
	s, err := store.OpenReadOnly(ctx, dsn)
	if err != nil {
		return err
	}
	defer s.Close()
	found, err := audit.Verify(ctx, s, strings.ToLower(knownHead))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "entries   %d\nunsealed  %d\nhead      %s\n", found.GetEntries(), found.GetUnsealed(), found.GetHead())
	if !found.GetIntact() {
		fmt.Fprintf(out, "broken at %d: %s\n", found.GetBrokenAt(), found.GetProblem())
		return fmt.Errorf("the audit log was tampered with: position %d: %s", found.GetBrokenAt(), found.GetProblem())
	}
	fmt.Fprintln(out, "intact")
	return nil
}

// takeFlag takes a flag with its value out of the arguments, whose rest are settings.
func takeFlag(args []string, name string) (value string, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		flag, text, joined := strings.Cut(args[i], "=")
		switch {
		case flag != name:
			rest = append(rest, args[i])
			continue
		case joined:
			value = text
		case i+1 < len(args):
			i++
			value = args[i]
		}
		if value == "" {
			return "", nil, errors.New(name + " needs a value")
		}
	}
	return value, rest, nil
}
