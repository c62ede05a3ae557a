"""The page shows medians, ratios of medians, and the servers that failed."""

from benchmarks.compare import page, plots
from benchmarks.compare.results import Results
from benchmarks.peers import PEERS


def results() -> Results:
    """Return three rounds in which nchan takes twice as long as the floor."""
    found = Results(3)
    for number in (9.0, 1.0, 2.0):
        found.add(("paced", "floor"), {"delivery_us": number, "last_p99_ms": 10.0})
        found.add(("paced", "nchan"), {"delivery_us": 2 * number, "last_p99_ms": 40.0})
    return found


def test_a_figure_is_the_median_of_its_rounds() -> None:
    """One round on a busy machine does not change the median."""
    assert results().median(("paced", "floor"), "delivery_us") == 2.0


def test_a_ratio_is_one_of_medians_in_the_same_scenario() -> None:
    """Both servers were measured in the same rounds."""
    found = results()
    assert found.ratio(("paced", "nchan"), "delivery_us", to="floor") == 2.0
    assert found.ratio(("paced", "floor"), "delivery_us", to="nchan") == 0.5


def test_a_figure_that_was_not_measured_is_none() -> None:
    """Its cell is empty, not zero."""
    found = results()
    assert found.median(("paced", "floor"), "connect_us") is None
    assert found.median(("burst", "floor"), "delivery_us") is None
    assert found.ratio(("paced", "floor"), "delivery_us", to="socket") is None


def test_one_failed_round_removes_all_figures() -> None:
    """A server that failed once must not be judged by its better rounds."""
    found = results()
    found.fail(("paced", "nchan"), "CrowdError: 3 streams have ended\nand more")
    assert found.median(("paced", "nchan"), "delivery_us") is None
    text = page.tables(found)
    assert "nginx + nchan failed: CrowdError: 3 streams have ended\n" in text
    assert "| nginx + nchan |" not in text


def test_a_row_has_the_median_its_range_and_the_ratios() -> None:
    """All lines of the Markdown table have the same number of cells."""
    text = page.tables(results())
    assert "| nginx + nchan | 4.0 (2.0 - 18.0) | 2.00 | 1.00 | 40.0 | 1.00 |\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1


def test_sections_and_columns_without_figures_are_left_out() -> None:
    """A part of the comparison prints only its own tables."""
    text = page.tables(results())
    assert text.count("## ") == 1
    assert "clients |" not in text


def test_the_page_names_servers_left_out_and_the_kind_of_delivery() -> None:
    """If the socket variant was delivered by generator, the page says so."""
    found = results()
    found.versions["flask_sse_hub, by socket"] = "gunicorn 1"
    found.served["paced", "socket"] = "5000 by generator"
    found.absent["better-sse on Node.js"] = "node is not installed"
    text = page.page(found)
    assert (
        "| flask_sse_hub, by socket | gunicorn 1 | streams went by generator |" in text
    )
    assert "| better-sse on Node.js | left out: node is not installed | |" in text


def test_the_page_shows_the_plots_of_measured_figures() -> None:
    """Each plot is under the title of its section."""
    text = page.page(results())
    assert "idle clients\n\n![" in text
    assert text.count("](benchmarks-") == 1


def test_every_plot_is_on_the_page() -> None:
    """A plot that no page shows would become outdated unnoticed."""
    assert {each.plot for each in page.SECTIONS if each.plot} == set(plots.PLOTS)


def test_bars_are_in_the_order_of_the_tables() -> None:
    """Only servers with a median have a bar."""
    (panel, *_) = plots.PLOTS["delivery"]
    assert plots.bars(panel, results()) == [
        ("floor", "floor: a loop of write() in C", 2.0),
        ("nchan", "nginx + nchan", 4.0),
    ]


def test_names_and_labels_of_servers_are_unique() -> None:
    """A name identifies a cell, and a label identifies a row."""
    assert len({kind.name for kind in PEERS}) == len(PEERS)
    assert len({kind.label for kind in PEERS}) == len(PEERS)
