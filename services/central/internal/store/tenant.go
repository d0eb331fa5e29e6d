package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/db"
)

type tenantContext struct{}

// ForEveryone lets what is done in the context see the rows of every customer: central's own
// work, the platform's staff, and finding out who calls.
func ForEveryone(ctx context.Context) context.Context {
	return context.WithValue(ctx, tenantContext{}, db.Everyone)
}

// ForCustomer lets what is done in the context see and change one customer's rows alone, whatever
// the queries forget: row-level security sees to it.
func ForCustomer(ctx context.Context, customer uuid.UUID) context.Context {
	return context.WithValue(ctx, tenantContext{}, customer.String())
}

// errNobody: answering with no rows would be taken for "there are none", of stops such as.
var errNobody = errors.New("reaching the database: the context says for nobody whose rows may be seen")

// tenantOf is the tenant that a connection is set to, and its key in the connection's own data.
const tenantOf = db.TenantSetting

// prepare sets a connection to the tenant of the context that it is acquired in. That takes a
// round trip only when somebody else's was before.
func prepare(ctx context.Context, conn *pgx.Conn) (bool, error) {
	tenant, ok := ctx.Value(tenantContext{}).(string)
	if !ok {
		return true, errNobody
	}
	data := conn.PgConn().CustomData()
	if data[tenantOf] == tenant {
		return true, nil
	}
	delete(data, tenantOf) // whatever it is after a failure, it is not known
	if _, err := conn.Exec(ctx, "SELECT set_config('"+db.TenantSetting+"', $1, false)", tenant); err != nil {
		return false, err
	}
	data[tenantOf] = tenant
	return true, nil
}
