-- Takes the policies away one by one and opens them one by one: a matrix that stays green then has not tested them.
-- Left out as equal to the original: opening what an update may write where it reads no column that clients may change.
create or replace function tests.reads_a_changeable_column(policy name, table_schema name, table_name name)
returns boolean
language sql
stable
as $$
  select exists (
    select
    from pg_policy
    join pg_depend on pg_depend.classid = 'pg_policy'::regclass and pg_depend.objid = pg_policy.oid
      and pg_depend.refclassid = 'pg_class'::regclass and pg_depend.refobjid = pg_policy.polrelid and pg_depend.refobjsubid > 0
    where pg_policy.polname = policy and pg_policy.polrelid = format('%I.%I', table_schema, table_name)::regclass
      and has_column_privilege('authenticated', pg_policy.polrelid, pg_depend.refobjsubid::smallint, 'update')
  );
$$;

create or replace function tests.policy_mutations()
returns table (relation text, policy text, mutation text, statement text)
language sql
stable
as $$
  select
    format('%I.%I', pg_policies.schemaname, pg_policies.tablename),
    pg_policies.policyname::text,
    mutations.mutation,
    format(mutations.template, pg_policies.policyname, pg_policies.schemaname, pg_policies.tablename)
  from pg_policies
  cross join lateral (
    values
      ('dropped', 'drop policy %I on %I.%I', true),
      ('open to read', 'alter policy %I on %I.%I using (true)', pg_policies.qual is not null and pg_policies.permissive = 'PERMISSIVE'),
      (
        'open to write', 'alter policy %I on %I.%I with check (true)',
        pg_policies.with_check is not null and pg_policies.permissive = 'PERMISSIVE'
        and (pg_policies.cmd <> 'UPDATE' or tests.reads_a_changeable_column(pg_policies.policyname, pg_policies.schemaname, pg_policies.tablename))
      )
  ) as mutations (mutation, template, applies)
  where pg_policies.schemaname in ('public', 'ai', 'private') and mutations.applies;
$$;

-- How many expectations about the policy's own table fail under the mutation.
create or replace function tests.failures_under(mutation_statement text, relation text)
returns int
language plpgsql
as $$
declare
  failures int;
begin
  begin
    execute mutation_statement;
    select
      (
        select count(*)
        from tests.access_expectations() as expectations
        where expectations.relation = failures_under.relation
          and tests.probe(expectations.relation, expectations.verb, expectations.principal) <> expectations.expected
      ) + (
        select count(*)
        from tests.access_cases() as cases
        where cases.relation = failures_under.relation and tests.probe_case(cases.statement, cases.principal) <> cases.expected
      )
    into failures;
    raise exception 'undo' using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then
    null;
  end;
  return failures;
end;
$$;
