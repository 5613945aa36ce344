/* balance.c: who has more than his share gives to those who have less; then it rests.
 *
 * Shards move in episodes only: when hosts came or went, and when it has been uneven for a while by more than
 * what the last episode could not mend. Each move makes the two hosts more even than they were, so with
 * steady loads the sum of squares falls with each, and no shard goes in a circle. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lease/internal.h"

#define DEBOUNCE_MS 2000
#define EPISODE_MS 30000
#define ROUNDS_OF_CHANGE 4
#define ROUNDS_OF_REST 2
#define MOVES_OF_REST 8 /* a round */
#define RESTED_MS 120000
#define UNEVEN_MS 10000
#define CHECK_MS 1000
#define BAND 0.10
#define RESIDUE 1.3 /* of what the last episode left is let be */
#define CLOSE 0.03  /* of a fair share: what a move must gain, and what counts as even */

struct view {
    double mine, fair; /* loads of this host, and what one reactor should have */
    double surpluses, deficits;
    double worst; /* deviation, of a share: of this host above, or of any below */
    int hosts;
};

static bool is_movable(const struct holding *holding)
{
    return holding->told && holding->phase == HOLDING_RUNS && strcmp(holding->shard, LEASE_STREAM_ROW) != 0;
}

static struct view look(const struct coordinator *coordinator)
{
    struct view view = {.hosts = 1};
    const struct holding *holding;
    const struct member *member;
    double total, reactors = coordinator->options.reactors;
    size_t at = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        view.mine += holding->phase == HOLDING_RUNS ? holding->load : 0;
    total = view.mine;
    at = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL)))
        if (member_takes(coordinator, member, NULL)) {
            total += member->load;
            reactors += (double)member->reactors;
            view.hosts++;
        }
    view.fair = total / reactors;
    double own_fair = view.fair * coordinator->options.reactors;
    if (view.mine > own_fair) {
        view.surpluses = view.mine - own_fair;
        view.worst = view.surpluses / own_fair;
    }
    at = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL))) {
        double share = view.fair * (double)member->reactors;
        if (!member_takes(coordinator, member, NULL) || share <= 0)
            continue;
        if (member->load > share)
            view.surpluses += member->load - share;
        else if (member->load < share * (1 - CLOSE))
            view.deficits += share - member->load;
        if ((share - member->load) / share > view.worst)
            view.worst = (share - member->load) / share;
    }
    return view;
}

static int heavier_first(const void *a, const void *b)
{
    const struct holding *x = *(struct holding *const *)a, *y = *(struct holding *const *)b;
    return x->load < y->load ? 1 : x->load > y->load ? -1 : strcmp(x->key, y->key);
}

/* Is it better for both? */
static bool gains(const struct coordinator *coordinator, const struct view *view, const struct member *to,
                  double load)
{
    return (view->mine - load) / coordinator->options.reactors >=
           (to->load + load) / (double)to->reactors + CLOSE * view->fair;
}

static int give_to(struct coordinator *coordinator, struct view *view, struct member *to, double flow,
                   struct holding **holdings, size_t count, int most)
{
    int moves = 0, drawn = 0;
    for (size_t i = 0; i < count && moves < most; i++) {
        struct holding *holding = holdings[i];
        if (!holding || holding->load <= 0 || !member_follows(to, holding->stream) ||
            !gains(coordinator, view, to, holding->load))
            continue;
        /* What is left of the flow and is less than this shard: by one lot. */
        if (holding->load > flow &&
            (drawn++ || below(coordinator, 1000) >= (int)(1000 * flow / holding->load)))
            continue;
        flow -= holding->load;
        view->mine -= holding->load;
        to->load += holding->load;
        holdings[i] = NULL;
        moves++;
        holding_drain(holding, to->session, true);
        if (flow <= 0)
            break;
    }
    return moves;
}

static void round_of(struct coordinator *coordinator, int64_t now)
{
    struct episodes *episodes = &coordinator->episodes;
    struct view view = look(coordinator);
    double own_fair = view.fair * coordinator->options.reactors, surplus = view.mine - own_fair;
    double larger = view.surpluses > view.deficits ? view.surpluses : view.deficits;
    int most = episodes->of_change ? INT32_MAX : MOVES_OF_REST;
    struct holding *holding, **holdings;
    struct member *member;
    size_t at = 0, count = 0;
    int given = 0;
    if (surplus <= 0 || larger <= 0)
        return;
    holdings = mem_alloc((coordinator->holdings.count + 1) * sizeof *holdings);
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        if (is_movable(holding) && (episodes->of_change || now - holding->moved_ms > RESTED_MS))
            holdings[count++] = holding;
    qsort(holdings, count, sizeof *holdings, heavier_first);
    at = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL)) && given < most) {
        double share = view.fair * (double)member->reactors;
        if (member_takes(coordinator, member, NULL) && member->load < share * (1 - CLOSE))
            given += give_to(coordinator, &view, member, (share - member->load) * surplus / larger, holdings,
                             count, most - given);
    }
    episodes->moves += given;
    free(holdings);
}

static void begin(struct episodes *episodes, bool of_change, int64_t now)
{
    episodes->of_change = of_change;
    episodes->rounds = of_change ? ROUNDS_OF_CHANGE : ROUNDS_OF_REST;
    episodes->until_ms = now + EPISODE_MS;
    episodes->round_ms = now;
    episodes->uneven_ms = 0;
    episodes->moves = 0;
}

void balance_changed(struct coordinator *coordinator, int64_t now)
{
    coordinator->episodes.begin_ms = now + DEBOUNCE_MS;
}

/* As long as rows are made and given out, nobody gives any on: who is short of some gets the next ones. */
void balance_born(struct coordinator *coordinator, int64_t now)
{
    struct episodes *episodes = &coordinator->episodes;
    if (!episodes->begin_ms && (!episodes->until_ms || !episodes->of_change))
        return;
    episodes->begin_ms = now + DEBOUNCE_MS;
    episodes->until_ms = 0;
}

static void watch_unevenness(struct coordinator *coordinator, int64_t now)
{
    struct episodes *episodes = &coordinator->episodes;
    struct view view = look(coordinator);
    if (view.hosts < 2 || view.worst <= BAND + RESIDUE * episodes->residue)
        episodes->uneven_ms = 0;
    else if (!episodes->uneven_ms)
        episodes->uneven_ms = now;
    else if (now - episodes->uneven_ms >= UNEVEN_MS)
        begin(episodes, false, now);
}

/* What is of a stream that this host does not read goes to one that does, whatever it weighs. */
static void place(struct coordinator *coordinator)
{
    struct holding *holding;
    size_t at = 0;
    coordinator->misplaced = false;
    while ((holding = map_next(&coordinator->holdings, &at, NULL))) {
        if (is_followed(coordinator, holding->stream))
            continue;
        coordinator->misplaced = true;
        const char *to = holding->phase == HOLDING_RUNS
                             ? members_choose(coordinator, holding->stream, holding->load, false)
                             : "";
        if (*to)
            holding_drain(holding, to, true);
    }
}

void balance_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct episodes *episodes = &coordinator->episodes;
    if (coordinator->session.phase != PHASE_LIVE || coordinator->leaving)
        return;
    if (coordinator->misplaced && episodes->place_ms <= now) {
        place(coordinator);
        episodes->place_ms = now + CHECK_MS;
    }
    if (coordinator->misplaced)
        sooner(next, episodes->place_ms);
    if (episodes->begin_ms && episodes->begin_ms <= now) {
        episodes->begin_ms = 0;
        begin(episodes, true, now);
    }
    if (episodes->begin_ms)
        sooner(next, episodes->begin_ms);
    if (episodes->round_ms > now) {
        sooner(next, episodes->round_ms);
        return;
    }
    if (!episodes->until_ms) {
        watch_unevenness(coordinator, now);
        episodes->round_ms = now + CHECK_MS;
    } else if (!episodes->rounds || episodes->until_ms <= now) {
        episodes->residue =
            episodes->moves ? 0 : look(coordinator).worst; /* nothing that could be moved mends it */
        episodes->until_ms = 0;
        episodes->round_ms = now + CHECK_MS;
    } else {
        /* The next when the beats of all have said twice what came of it. */
        round_of(coordinator, now);
        episodes->rounds--;
        episodes->round_ms = now + 2 * share_of(coordinator, BEAT_SHARE);
    }
    sooner(next, episodes->round_ms);
}
