alter table ai.agents add column published boolean not null default true;

comment on column ai.agents.published is 'Whether runs may be started. Taking it away stops the runs that are going on.';

grant insert (published) on table ai.agents to authenticated;
grant update (published) on table ai.agents to authenticated;
