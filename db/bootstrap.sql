-- Makes CloudOptim's database and its two roles. Run it once, as an administrator who may create
-- roles and databases; running it again changes nothing but the passwords.
--
--   psql "postgres://admin@HOST/postgres" -v central_password=… -v ml_password=… -f db/bootstrap.sql
--
-- The embedded PostgreSQL runs this same file, so it keeps to a small part of psql's language:
-- a statement ends at a line that ends in ";" or "\gexec", and :'name' is a quoted variable.

SELECT 'CREATE ROLE central_server LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'central_server') \gexec

SELECT 'CREATE ROLE ml_server_ro LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ml_server_ro') \gexec

ALTER ROLE central_server PASSWORD :'central_password';

ALTER ROLE ml_server_ro PASSWORD :'ml_password';

-- The ml server's rights come from the migrations' GRANTs; this is a second lock on the same door.
ALTER ROLE ml_server_ro SET default_transaction_read_only = on;

-- Without superuser, only who may SET ROLE to a role may make it the owner of something.
SELECT format('GRANT central_server TO %I', current_user)
WHERE NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \gexec

SELECT 'CREATE DATABASE cloudoptim OWNER central_server'
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = 'cloudoptim') \gexec

REVOKE ALL ON DATABASE cloudoptim FROM PUBLIC;

GRANT CONNECT ON DATABASE cloudoptim TO ml_server_ro;
