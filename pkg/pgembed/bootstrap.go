package pgembed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/db"
)

// statement is one statement of a psql script; exec means that its result is to be run (\gexec).
type statement struct {
	sql  string
	exec bool
}

// bootstrap runs db/bootstrap.sql as the administrator.
func bootstrap(ctx context.Context, dsn string, s secrets) (err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connecting to prepare the database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	variables := map[string]string{"central_password": s.Central, "ml_password": s.ML}
	for _, statement := range parseScript(db.Bootstrap, variables) {
		if err := statement.run(ctx, conn); err != nil {
			return fmt.Errorf("preparing the database: %w", err)
		}
	}
	return nil
}

func (s statement) run(ctx context.Context, conn *pgx.Conn) error {
	if !s.exec {
		_, err := conn.Exec(ctx, s.sql)
		return err
	}
	rows, err := conn.Query(ctx, s.sql)
	if err != nil {
		return err
	}
	commands, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, command := range commands {
		if _, err := conn.Exec(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

// parseScript understands the part of psql's language which bootstrap.sql promises to keep to.
func parseScript(script string, variables map[string]string) []statement {
	for name, value := range variables {
		quoted := "'" + strings.ReplaceAll(value, "'", "''") + "'"
		script = strings.ReplaceAll(script, ":'"+name+"'", quoted)
	}
	var statements []statement
	var text strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		sql, exec := strings.CutSuffix(line, `\gexec`)
		text.WriteString(sql + "\n")
		if exec || strings.HasSuffix(line, ";") {
			statements = append(statements, statement{sql: strings.TrimSpace(text.String()), exec: exec})
			text.Reset()
		}
	}
	return statements
}
