// Package moto runs the AWS stand-in and furnishes the account in it.
package moto

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

//go:embed server.py queues.py
var programs embed.FS

// Server is a running moto.
type Server struct {
	Endpoint string
	Child    *proc.Child
}

// Start runs moto's server on a free port of loopback.
func Start(ctx context.Context, python, dir string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	script, port := filepath.Join(dir, "server.py"), filepath.Join(dir, "port")
	for _, old := range []string{port, script, filepath.Join(dir, "queues.py")} { // CopyFS overwrites nothing
		if err := os.RemoveAll(old); err != nil {
			return nil, err
		}
	}
	if err := os.CopyFS(dir, programs); err != nil {
		return nil, fmt.Errorf("writing moto's server: %w", err)
	}
	child, err := proc.StartLogged("moto", filepath.Join(dir, "moto.log"), exec.Command(python, script, port))
	if err != nil {
		return nil, err
	}
	s := &Server{Child: child}
	if err := s.waitPort(ctx, port); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends moto; all that was in it is gone.
func (s *Server) Stop() { s.Child.Stop(5 * time.Second) }

// waitPort waits for the file with the port, which is written when the socket
// listens.
func (s *Server) waitPort(ctx context.Context, file string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(file); err == nil {
			s.Endpoint = "http://127.0.0.1:" + strings.TrimSpace(string(data))
			return nil
		}
		select {
		case <-s.Child.Done():
			return s.Child.Ended()
		case <-ctx.Done():
			return fmt.Errorf("waiting for moto: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// config is for moto alone: it takes any credentials, and the caller's own
// must never be looked up.
func (s *Server) config(region string) aws.Config {
	return aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(s.Endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("lab", "lab", ""),
	}
}

// EC2 is a client for this server.
func (s *Server) EC2(region string) *ec2.Client { return ec2.NewFromConfig(s.config(region)) }

// SQS is a client for this server.
func (s *Server) SQS(region string) *sqs.Client { return sqs.NewFromConfig(s.config(region)) }
