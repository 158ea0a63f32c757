-- A small believable world: two tenants, every role, people in both and in neither. Password of everybody: bulkhead-demo.
do $$
declare
  person record;
begin
  for person in
    select *
    from (
      values
        ('a0000000-0000-4000-8000-000000000001'::uuid, 'owner@harbor.example'),
        ('a0000000-0000-4000-8000-000000000002'::uuid, 'admin@harbor.example'),
        ('a0000000-0000-4000-8000-000000000003'::uuid, 'member@harbor.example'),
        ('a0000000-0000-4000-8000-000000000004'::uuid, 'viewer@harbor.example'),
        ('b0000000-0000-4000-8000-000000000001'::uuid, 'owner@meridian.example'),
        ('b0000000-0000-4000-8000-000000000003'::uuid, 'member@meridian.example'),
        ('c0000000-0000-4000-8000-000000000001'::uuid, 'both@bulkhead.example'),
        ('c0000000-0000-4000-8000-000000000002'::uuid, 'outsider@bulkhead.example')
    ) as people (id, email)
  loop
    insert into auth.users (
      id, instance_id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data, created_at,
      updated_at, confirmation_token, recovery_token, email_change, email_change_token_new
    )
    values (
      person.id, '00000000-0000-0000-0000-000000000000', 'authenticated', 'authenticated', person.email,
      extensions.crypt('bulkhead-demo', extensions.gen_salt('bf', 6)), now(), '{"provider": "email", "providers": ["email"]}', '{}', now(),
      now(), '', '', '', ''
    );
    insert into auth.identities (id, user_id, provider_id, provider, identity_data, last_sign_in_at, created_at, updated_at)
    values (
      gen_random_uuid(), person.id, person.id::text, 'email',
      jsonb_build_object('sub', person.id, 'email', person.email, 'email_verified', true), now(), now(), now()
    );
  end loop;
end;
$$;

insert into public.tenants (id, name)
values
  ('11111111-1111-4111-8111-111111111111', 'Harbor Logistics'),
  ('22222222-2222-4222-8222-222222222222', 'Meridian Health');

insert into public.memberships (tenant_id, user_id, role)
values
  ('11111111-1111-4111-8111-111111111111', 'a0000000-0000-4000-8000-000000000001', 'owner'),
  ('11111111-1111-4111-8111-111111111111', 'a0000000-0000-4000-8000-000000000002', 'admin'),
  ('11111111-1111-4111-8111-111111111111', 'a0000000-0000-4000-8000-000000000003', 'member'),
  ('11111111-1111-4111-8111-111111111111', 'a0000000-0000-4000-8000-000000000004', 'viewer'),
  ('22222222-2222-4222-8222-222222222222', 'b0000000-0000-4000-8000-000000000001', 'owner'),
  ('22222222-2222-4222-8222-222222222222', 'b0000000-0000-4000-8000-000000000003', 'member'),
  ('11111111-1111-4111-8111-111111111111', 'c0000000-0000-4000-8000-000000000001', 'member'),
  ('22222222-2222-4222-8222-222222222222', 'c0000000-0000-4000-8000-000000000001', 'member');

insert into public.groups (id, tenant_id, name)
values ('33333333-3333-4333-8333-333333333333', '11111111-1111-4111-8111-111111111111', 'Claims desk');

insert into public.group_members (tenant_id, group_id, user_id)
values ('11111111-1111-4111-8111-111111111111', '33333333-3333-4333-8333-333333333333', 'a0000000-0000-4000-8000-000000000004');

insert into public.memories (tenant_id, user_id, body)
values
  ('11111111-1111-4111-8111-111111111111', null, 'Harbor Logistics answers customers in English and German.'),
  ('22222222-2222-4222-8222-222222222222', null, 'Meridian Health never gives medical advice in chat.');
