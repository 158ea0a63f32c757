-- describe_tables: shapes for a model, of what the caller may select from and of nothing else.
begin;
select plan(16);

create table public.clients (id int primary key, name text not null unique, secret text);
create table public.orders (
  id int,
  part int,
  client_id int,
  total numeric(10, 2),
  constraint orders_pkey primary key (part, id),
  constraint orders_client_fkey foreign key (client_id) references public.clients (id)
);
create table public.hidden (id int primary key);
create view public.names as select name from public.clients;
revoke all on public.clients, public.orders, public.hidden, public.names from public, anon, authenticated, service_role;
grant select (id, name) on public.clients to authenticated;
grant select on public.orders, public.names to authenticated;
grant insert on public.hidden to authenticated;

create function pg_temp.described(tables jsonb) returns jsonb language sql as $$ select ai.describe_tables(tables); $$;
create function pg_temp.named(variadic names text[]) returns jsonb language sql as $$
  select pg_temp.described(jsonb_agg(jsonb_build_object('schema', 'public', 'name', name))) from unnest(names) as name;
$$;

select tests.sign_in('member');
select is(jsonb_path_query_array(pg_temp.named('clients'), '$[0].columns[*].name'), '["id", "name"]', 'the columns one may select');
select unalike(pg_temp.named('clients')::text, '%secret%', 'and no word of others');
select is(jsonb_path_query_array(pg_temp.named('orders'), '$[0].columns[*].type'), '["integer", "integer", "integer", "numeric"]', 'with their types');
select is(pg_temp.named('orders') #> '{0,keys}', '[["part", "id"]]', 'keys in their order');
select is(jsonb_path_query_array(pg_temp.named('clients'), '$[0].keys[*]') @> '[["id"], ["name"]]', true, 'all of them');
select is(jsonb_path_query_array(pg_temp.named('orders'), '$[0].**.name') @> '["orders_client_fkey"]', true, 'what refers to what');
select is(pg_temp.named('orders')::text ~ '"table": "clients"', true, 'by name');
select is(jsonb_path_query_array(pg_temp.named('names'), '$[0].columns[*].name'), '["name"]', 'views, too');
select is(pg_temp.named('hidden'), '[]', 'nothing of what one may only write to');
select is(pg_temp.named('nowhere'), '[]', 'nor of what does not exist: the same');
select is(jsonb_path_query_array(pg_temp.named('orders', 'hidden', 'clients'), '$[*].name'), '["clients", "orders"]', 'of several, those one may read');
select is(pg_temp.described('[]'), '[]', 'of none, none');
select is(
  pg_temp.described('[{"schema": "private", "name": "staged_chunks"}, {"schema": "auth", "name": "users"}, {"schema": "pgboss", "name": "job"}]'), '[]', 'what is closed is closed'
);
select is(
  pg_temp.described('[{"schema": "ai", "name": "tools"}]')::text ~ 'secret_headers', false, 'columns of ours that nobody reads are not named'
);
select tests.as_anon();
select is(tests.outcome($$select ai.describe_tables('[]')$$), '42501', 'nobody who is not signed in');
select tests.as_service();
select is(tests.outcome($$select ai.describe_tables('[]')$$), '42501', 'nor the secret key');

select * from finish();
rollback;
