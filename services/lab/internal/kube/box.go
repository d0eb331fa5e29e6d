// Package kube runs the Kubernetes control plane and hands out ways in.
package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

// Box is a running control plane.
type Box struct {
	Kubeconfig string
	Child      *proc.Child
	Config     *rest.Config
	Client     kubernetes.Interface
}

// Start runs kubebox in dir and waits until it is ready.
func Start(ctx context.Context, kubebox, dir string) (*Box, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ready := filepath.Join(dir, "ready")
	if err := os.RemoveAll(ready); err != nil {
		return nil, err
	}
	cmd := exec.Command(kubebox, "up", "-dir", dir)
	child, err := proc.StartLogged("kubebox", filepath.Join(dir, "kubebox.log"), cmd)
	if err != nil {
		return nil, err
	}
	b := &Box{Child: child, Kubeconfig: filepath.Join(dir, "admin.kubeconfig")}
	if err := waitFile(ctx, child, ready); err != nil {
		b.Stop()
		return nil, err
	}
	if b.Config, b.Client, err = Connect(b.Kubeconfig); err != nil {
		b.Stop()
		return nil, err
	}
	return b, nil
}

// Stop ends the control plane with all its parts.
func (b *Box) Stop() { b.Child.Stop(20 * time.Second) }

// Connect makes a client that is not held back by client-go's default of 5
// requests a second.
func Connect(kubeconfig string) (*rest.Config, kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	cfg.QPS, cfg.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(cfg)
	return cfg, client, err
}

func waitFile(ctx context.Context, child *proc.Child, file string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		select {
		case <-child.Done():
			return child.Ended()
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", child.Name, ctx.Err())
		case <-tick.C:
		}
	}
}
