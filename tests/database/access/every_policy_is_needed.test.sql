-- Mutation check: with any policy dropped, or opened to everybody, something in the matrix fails.
begin;
select plan((select count(*)::int from tests.policy_mutations()) + 1);
select tests.make_world();

select cmp_ok((select count(*)::int from tests.policy_mutations()), '>', 100, 'there are policies to take away');

select cmp_ok(
  tests.failures_under(mutations.statement, mutations.relation),
  '>',
  0,
  format('%s: "%s" %s is noticed', mutations.relation, mutations.policy, mutations.mutation)
)
from tests.policy_mutations() as mutations
order by mutations.relation, mutations.policy, mutations.mutation;

select * from finish();
rollback;
