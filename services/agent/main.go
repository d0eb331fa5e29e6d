// Command agent is CloudOptim's hand in a Kubernetes cluster: it tells central
// what the cluster looks like and does the tasks that central gives it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"

	"time"

	"k8s.io/klog/v2"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/pkg/run"
)

func main() { run.Main(agent) }

func agent(ctx context.Context) error {
	var s settings
	opts := config.Options{
		Name: "agent", Args: os.Args[1:], OtherSections: []string{"interruption", "oidc"},
	}
	if err := config.Load(&s, opts); err != nil {
		return err
	}
	told, err := observe.Start(ctx, observe.Config{Service: "agent", Logging: s.Logging})
	if err != nil {
		return err
	}
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = told.Shutdown(grace) // nobody is left to tell
	}()
	klog.SetSlogLogger(slog.New(terse{told.Log.Handler()}))
	kube, err := s.kubernetes()
	if err != nil {
		return err
	}
	w, err := newWorker(&s, kube, told.Log)
	if err != nil {
		return err
	}
	return run.All(ctx,
		run.Named("http", serveHTTP(s.Server.HTTPAddress, told.Metrics, w.ready.Load)),
		run.Named("grpc", serveGRPC(s.Server.GRPCAddress, told.Log)),
		run.Named("node", w.home.run),
		run.Named("work", w.run),
	)
}

// terse keeps client-go's chatter about its caches out of our own debugging.
type terse struct{ slog.Handler }

// Enabled drops what is below information.
func (t terse) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo && t.Handler.Enabled(ctx, level)
}

// serveHTTP is for the kubelet and Prometheus.
func serveHTTP(address string, metrics http.Handler, ready func() bool) run.Part {
	return func(ctx context.Context) error {
		lis, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listening for HTTP: %w", err)
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", metrics)
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
			if !ready() {
				http.Error(w, "the caches of the cluster are not full yet", http.StatusServiceUnavailable)
			}
		})
		return rpc.ServeHTTP(ctx, lis, mux)
	}
}

// serveGRPC has health and reflection only: the agent is a client.
func serveGRPC(address string, log *slog.Logger) run.Part {
	return func(ctx context.Context) error {
		lis, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listening for gRPC: %w", err)
		}
		return rpc.NewServer(rpc.ServerConfig{Log: log, Authorizer: nobody{}}).Serve(ctx, lis)
	}
}

// nobody may call anything but health and reflection.
type nobody struct{}

// Authorize refuses.
func (nobody) Authorize(context.Context, string, *accessv1.Policy, string) (context.Context, error) {
	return nil, fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "the agent serves no calls")
}
