// Package pgembed runs a private PostgreSQL for a server that was given none.
//
// The data directory holds everything: the cluster, its log, the passwords (connections.json,
// ml.dsn; mode 0600). One process at a time owns it, by a file lock that dies with the process.
package pgembed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// The names which db/bootstrap.sql gives to the database and its roles.
const (
	Database    = "cloudoptim"
	CentralRole = "central_server"
	MLRole      = "ml_server_ro"
	adminRole   = "postgres"
)

// MLConnectionFile is the file in the data directory from which an ml server on the same machine
// takes its connection string.
const MLConnectionFile = "ml.dsn"

// Config says where the server lives and how it is run.
type Config struct {
	DataDir string
	// Port 0 means the port used last time if it is free, else any free one.
	Port int
	// Settings are further PostgreSQL settings, such as shared_buffers.
	Settings map[string]string
	// NoSync trades the data's safety in a power cut for speed. For tests.
	NoSync bool
	Log    *slog.Logger
}

// Server is a running private PostgreSQL.
type Server struct {
	place   place
	secrets secrets
	port    int
	child   *child
	lock    *os.File
}

// DefaultDataDir is /var/lib/cloudoptim/postgres for root, because other users, such as the one
// PostgreSQL will run as, must be able to walk there; else it is below the user's state directory.
func DefaultDataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/cloudoptim/postgres", nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the home directory: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "cloudoptim", "postgres"), nil
}

// Start starts PostgreSQL, after making the cluster, the database and the roles if they are not
// there. ctx bounds the start, not the server's life; call Stop to end that.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting the embedded PostgreSQL: %w", err), s.Stop())
		}
	}()
	if s.place, err = claim(cfg.DataDir); err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(ctx, s.place.dir); err != nil {
		return nil, err
	}
	if err := reap(ctx, s.place.data()); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, cfg); err != nil {
		return nil, err
	}
	if err := s.launch(ctx, cfg); err != nil {
		return nil, err
	}
	return s, s.publish(ctx)
}

// prepare makes sure of binaries, passwords and a cluster.
func (s *Server) prepare(ctx context.Context, cfg Config) error {
	bin, err := locate(ctx, s.place)
	if err != nil {
		return err
	}
	s.place.bin = bin.dir
	if s.secrets, err = loadSecrets(s.place); err != nil {
		return err
	}
	return s.place.initialise(ctx, bin, s.secrets.Admin, cfg.NoSync)
}

// launch starts the postmaster and waits until it answers. A free port may be taken by another
// process between our look and the postmaster's, so with a port of our choice it tries again.
func (s *Server) launch(ctx context.Context, cfg Config) error {
	const tries = 5
	for try := 1; ; try++ {
		port, err := choosePort(cfg.Port, s.secrets.Port, try)
		if err != nil {
			return err
		}
		s.port = port
		if s.child, err = startPostmaster(s.place, port, cfg); err != nil {
			return err
		}
		err = s.awaitReady(ctx)
		if err == nil {
			cfg.Log.InfoContext(ctx, "embedded PostgreSQL is ready", "port", port, "data_dir", s.place.dir)
			return nil
		}
		s.child.stop()
		if cfg.Port != 0 || try == tries || ctx.Err() != nil || !s.place.logMentions("could not bind") {
			return fmt.Errorf("%w\nlast lines of %s:\n%s", err, s.place.log(), s.place.logTail())
		}
	}
}

// choosePort returns the wanted port, else on the first try the one used before, else a free one.
func choosePort(wanted, last, try int) (int, error) {
	if wanted != 0 {
		return wanted, nil
	}
	if try == 1 && last != 0 {
		if port, err := listenable(last); err == nil {
			return port, nil
		}
	}
	return listenable(0)
}

func listenable(port int) (int, error) {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	port = listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// awaitReady returns when the postmaster accepts the administrator's password.
func (s *Server) awaitReady(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := s.knock(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.child.done:
			return fmt.Errorf("the postmaster exited: %w", s.child.err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for the postmaster: %w: %w", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// knock connects once. Its time is short because another process may sit on the port and say
// nothing; SCRAM proves both sides, so such a one neither passes for ours nor learns the password.
func (s *Server) knock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.AdminDSN(adminRole))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// publish runs the bootstrap script and writes down how to connect.
func (s *Server) publish(ctx context.Context) error {
	if err := bootstrap(ctx, s.AdminDSN(adminRole), s.secrets); err != nil {
		return err
	}
	s.secrets.Port = s.port
	if err := s.secrets.save(s.place); err != nil {
		return err
	}
	return writePrivate(filepath.Join(s.place.dir, MLConnectionFile), []byte(s.MLDSN()+"\n"))
}

// CentralDSN is the connection string of the central server, the database's owner.
func (s *Server) CentralDSN() string {
	return dsn(CentralRole, s.secrets.Central, s.port, Database)
}

// MLDSN is the connection string of the ml server, which may only read what it was granted.
func (s *Server) MLDSN() string { return dsn(MLRole, s.secrets.ML, s.port, Database) }

// AdminDSN is the superuser's connection string for the given database.
func (s *Server) AdminDSN(database string) string {
	return dsn(adminRole, s.secrets.Admin, s.port, database)
}

// DSN is a role's connection string for the given database; it is empty for a role that
// bootstrap.sql did not make.
func (s *Server) DSN(role, database string) string {
	switch role {
	case CentralRole:
		return dsn(role, s.secrets.Central, s.port, database)
	case MLRole:
		return dsn(role, s.secrets.ML, s.port, database)
	case adminRole:
		return s.AdminDSN(database)
	}
	return ""
}

// dsn names the host by number: localhost may be ::1, where nobody listens.
func dsn(role, password string, port int, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port is the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Watch is a part for run.All: it ends with ctx, or with an error when PostgreSQL dies before.
// It does not stop PostgreSQL, which must outlive the parts that use it.
func (s *Server) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.child.done:
		return fmt.Errorf("the embedded PostgreSQL exited: %w\nlast lines of %s:\n%s",
			s.child.err, s.place.log(), s.place.logTail())
	}
}

// Stop ends PostgreSQL in good order and gives the data directory back. It may be called twice.
func (s *Server) Stop() error {
	if s.child != nil {
		s.child.stop()
	}
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}
