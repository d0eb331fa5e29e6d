// Package aemm runs AWS's own mock of the instance metadata service, amazon-ec2-metadata-mock.
package aemm

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

// toolFile pins the mock; `go tool` keeps what it builds in Go's build cache.
const toolFile = ".tools/aemm.mod"

// Config says what is mocked.
type Config struct {
	// Dir holds the mock's log; it is its own.
	Dir string
	// InstanceID is whose metadata it has; empty: the mock's own example.
	InstanceID string
	// Args choose what it does, e.g. spot --action=terminate.
	Args []string
}

// Path is the mock's program, built when it is not.
func Path(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the source tree: %w", err)
	}
	find := exec.CommandContext(ctx, "go", "tool", "-modfile="+toolFile, "-n", "ec2-metadata-mock")
	find.Dir, find.Stderr = filepath.Dir(strings.TrimSpace(string(root))), os.Stderr
	path, err := find.Output()
	if err != nil {
		return "", fmt.Errorf("building the metadata mock: %w", err)
	}
	return strings.TrimSpace(string(path)), nil
}

// Start runs the mock and returns its address when it listens.
func Start(ctx context.Context, path string, cfg Config) (endpoint string, child *proc.Child, err error) {
	at, err := proc.FreeAddress()
	if err != nil {
		return "", nil, err
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return "", nil, err
	}
	args := append([]string{}, cfg.Args...)
	if cfg.InstanceID != "" {
		file, err := writeConfig(cfg)
		if err != nil {
			return "", nil, err
		}
		args = append(args, "--config-file="+file)
	}
	cmd := exec.Command(path, append(args, "--hostname="+host, "--port="+port, "--imdsv2")...)
	cmd.Env = append(os.Environ(), "HOME="+cfg.Dir)
	if child, err = proc.StartLogged("metadata mock", filepath.Join(cfg.Dir, "aemm.log"), cmd); err != nil {
		return "", nil, err
	}
	if err := listens(ctx, child, at); err != nil {
		child.Kill()
		return "", nil, err
	}
	return "http://" + at, child, nil
}

func writeConfig(cfg Config) (string, error) {
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"values": map[string]any{"instance-id": cfg.InstanceID}}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(cfg.Dir, "aemm.json")
	return file, os.WriteFile(file, text, 0o600)
}

func listens(ctx context.Context, child *proc.Child, at string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", at); err == nil {
			return conn.Close()
		}
		select {
		case <-child.Done():
			return child.Ended()
		case <-ctx.Done():
			return fmt.Errorf("waiting for the metadata mock: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
