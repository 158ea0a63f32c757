/**
 * A trigger function that stands still where its session has said so by the setting `tests.stop_at`, the name of a table: until
 * the lock `gate` is let go. So two sessions meet at a row of a test's choice.
 * @param name of the function, in the schema `tests`
 */
export const createStandStill = (query: (text: string) => Promise<unknown>, name: string, gate: number) =>
  query(`create function tests.${name}() returns trigger language plpgsql as $$
    begin
      if current_setting('tests.stop_at', true) = tg_table_name then
        perform set_config('tests.stop_at', '', true);
        perform pg_advisory_xact_lock_shared(${gate});
      end if;
      if tg_op = 'DELETE' then
        return old;
      end if;
      return new;
    end $$`)
