-- The lines of tests.access_cases(): changes of what policies read, and pointing at other tenants' rows.
begin;
select plan((select count(*)::int from tests.access_cases()));
select tests.make_world();

select is(
  tests.probe_case(cases.statement, cases.principal),
  cases.expected,
  format('%s as %s: %s', cases.relation, cases.principal, cases.reason)
)
from tests.access_cases() as cases;

select * from finish();
rollback;
